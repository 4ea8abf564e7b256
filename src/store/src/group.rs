//! One group commit in the making: headers and short bodies gathered in one arena, long bodies by reference.

use crate::format::{
    BATCH_FRAME_BYTES, BATCH_KIND, BATCH_PAYLOAD_BYTES, BatchMark, FRAME_HEADER_BYTES, FrameCrc, FrameHeader,
    frame_bytes,
};
use bytes::Bytes;
use model::message::Body;
use std::io::IoSlice;

/// Body pieces from this length on are written from where they are; shorter ones are copied into the arena, which
/// is cheaper than another entry in the vectored write.
const BY_REFERENCE_MIN_BYTES: usize = 2048;

/// An arena that a large group left behind is given back to the allocator from this size on.
const ARENA_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// A long piece, and the arena position that it comes after.
struct Piece {
    after: usize,
    bytes: Bytes,
}

/// Frames of one group, in order, beginning with its batch frame.
pub(crate) struct Group {
    arena: Vec<u8>,
    pieces: Vec<Piece>,
    piece_bytes: usize,
    salt: u32,
    epoch: u32,
    base: u64,
    mark: BatchMark,
    crc: FrameCrc,
    open: Option<OpenFrame>,
}

/// The frame being written.
struct OpenFrame {
    kind: u8,
    /// Arena position of its header.
    at: usize,
    /// Arena position up to which the checksum was fed.
    fed: usize,
    /// `piece_bytes` when it began.
    pieces_before: usize,
}

impl Group {
    pub(crate) fn new() -> Self {
        Self {
            arena: Vec::new(),
            pieces: Vec::new(),
            piece_bytes: 0,
            salt: 0,
            epoch: 0,
            base: 0,
            mark: BatchMark::default(),
            crc: FrameCrc::new(),
            open: None,
        }
    }

    /// Begins a group at Lsn `base`. Its record count is filled in at the end.
    pub(crate) fn begin(&mut self, salt: u32, epoch: u32, base: u64, mark: BatchMark) {
        self.clear();
        (self.salt, self.epoch, self.base, self.mark) = (salt, epoch, base, mark);
        self.arena.resize(BATCH_FRAME_BYTES, 0);
    }

    /// Nothing was begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.arena.is_empty()
    }

    /// Bytes that the group takes in the file.
    pub(crate) fn len(&self) -> usize {
        self.arena.len() + self.piece_bytes
    }

    /// Begins the frame of a record.
    pub(crate) fn begin_frame(&mut self, kind: u8) {
        let at = self.arena.len();
        self.crc.begin(self.salt, self.base + self.len() as u64);
        let header = FrameHeader { payload_bytes: 0, crc: 0, kind, epoch: self.epoch };
        self.arena.extend_from_slice(&header.encode());
        self.open = Some(OpenFrame { kind, at, fed: at + 8, pieces_before: self.piece_bytes });
    }

    /// Where the payload's small things are appended. What was appended before a call of [`Group::body`] is final
    /// once that is called.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Appends a body.
    pub(crate) fn body(&mut self, body: &Body) {
        for piece in body.pieces() {
            if piece.len() < BY_REFERENCE_MIN_BYTES {
                self.arena.extend_from_slice(piece);
                continue;
            }
            self.feed();
            self.crc.feed(piece);
            self.piece_bytes += piece.len();
            self.pieces.push(Piece { after: self.arena.len(), bytes: piece.clone() });
        }
    }

    fn feed(&mut self) {
        if let Some(open) = &mut self.open {
            self.crc.feed(self.arena.get(open.fed..).unwrap_or_default());
            open.fed = self.arena.len();
        }
    }

    /// Ends the frame of a record.
    pub(crate) fn end_frame(&mut self) {
        self.feed();
        let Some(open) = self.open.take() else { return };
        let payload =
            self.arena.len() - open.at - FRAME_HEADER_BYTES + (self.piece_bytes - open.pieces_before);
        let payload_bytes = payload as u32;
        let crc = self.crc.end(payload_bytes);
        let header = FrameHeader { payload_bytes, crc, kind: open.kind, epoch: self.epoch };
        write_over(&mut self.arena, open.at, &header.encode());
        let filling = frame_bytes(payload) - FRAME_HEADER_BYTES - payload;
        self.arena.resize(self.arena.len() + filling, 0);
        self.mark.records += 1;
    }

    /// Completes the batch frame; the group is ready to be written.
    pub(crate) fn seal(&mut self) {
        let payload = self.mark.encode();
        let payload_bytes = BATCH_PAYLOAD_BYTES as u32;
        let mut header = FrameHeader { payload_bytes, crc: 0, kind: BATCH_KIND, epoch: self.epoch };
        self.crc.begin(self.salt, self.base);
        self.crc.feed(header.encode().get(8..).unwrap_or_default());
        self.crc.feed(&payload);
        header.crc = self.crc.end(payload_bytes);
        write_over(&mut self.arena, 0, &header.encode());
        write_over(&mut self.arena, FRAME_HEADER_BYTES, &payload);
    }

    /// Everything in order, for vectored writes.
    pub(crate) fn io_slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(self.pieces.len() * 2 + 1);
        let mut from = 0;
        for piece in &self.pieces {
            slices.push(IoSlice::new(self.arena.get(from..piece.after).unwrap_or_default()));
            slices.push(IoSlice::new(&piece.bytes));
            from = piece.after;
        }
        slices.push(IoSlice::new(self.arena.get(from..).unwrap_or_default()));
        slices
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        if self.arena.capacity() > ARENA_KEPT_BYTES {
            self.arena = Vec::new();
        }
        self.pieces.clear();
        self.piece_bytes = 0;
    }
}

fn write_over(arena: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = arena.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
