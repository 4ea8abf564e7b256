//! The page files of a damaged log: which are whole, and what can be taken out of the others.

use crate::codec;
use crate::disk::{Disk, read_full_at};
use crate::error::StoreError;
use crate::facts::{Place, contents};
use crate::format::{BATCH_KIND, HEADER_BYTES};
use crate::options::CodecLookup;
use crate::pages::{Pages, page_name, page_number};
use crate::salvage::{Stretch, decode_header};
use crate::scan::Scan;
use crate::sealed::{Kind, SealedHeader};
use model::ids::QueueId;
use model::record::{Page, Record};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that validates in a file that was written whole, and whether that is all of it.
pub(crate) fn salvage(
    disk: &dyn Disk,
    path: &Path,
    (kind, number): (Kind, u64),
    codecs: &CodecLookup,
    lost: &mut Vec<Stretch>,
) -> Result<Option<(SealedHeader, Vec<Record>)>, StoreError> {
    let failed = |error| StoreError::io("read", path)(error);
    let file = disk.open_read(path).map_err(StoreError::io("open", path))?;
    let size = file.size().map_err(failed)?;
    let mut block = vec![0; HEADER_BYTES as usize];
    let filled = read_full_at(file.as_ref(), &mut block, 0).map_err(failed)?;
    block.truncate(filled);
    let stretch = |bytes, what| Stretch { path: path.to_owned(), bytes, records: 0, what };
    let right =
        |block: &[u8]| SealedHeader::decode(kind, path, block).ok().filter(|header| header.number == number);
    let Some((header, corrected)) = decode_header(&mut block, right) else {
        lost.push(stretch((0, size), "the header is not valid"));
        return Ok(None);
    };
    if corrected {
        lost.push(stretch((0, HEADER_BYTES), "a flipped bit in the header, put right"));
    }
    let before = lost.len();
    let (mut records, mut scan) =
        (Vec::new(), Scan::new(file.as_ref(), header.as_segment(), header.bytes.min(size)));
    loop {
        let offset = scan.offset();
        let take = &mut |_: u64, kind: u8, payload: &[u8]| {
            if kind == BATCH_KIND { None } else { Some(codec::decode(kind, payload, codecs.as_ref())) }
        };
        match scan.any_frame(offset, take).map_err(failed)? {
            Some(Some(Ok(record))) => records.push(record),
            Some(None | Some(Err(_))) => {}
            None if offset >= header.bytes => break,
            None => {
                let next = scan.resynchronise().map_err(failed)?;
                lost.push(stretch((offset, next.unwrap_or(header.bytes)), "no valid frames"));
                if next.is_none() {
                    break;
                }
            }
        }
    }
    if let Some(last) = lost.get_mut(before..).and_then(|new| new.last_mut()) {
        last.records = u64::from(header.records).saturating_sub(records.len() as u64);
    }
    Ok(Some((header, records)))
}

/// Records by place and first number, with the last number.
type Loose = BTreeMap<(Place, u64), (u64, Record)>;

/// The pages of a log that is being repaired.
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    codecs: CodecLookup,
    pages: Pages,
    checked: HashMap<u64, bool>,
    /// Not as they were written.
    pub(crate) bad: BTreeSet<u64>,
    pub(crate) lost: Vec<Stretch>,
    /// Records by place and first number, out of pages that nothing refers to or that are bad.
    loose: Option<Loose>,
}

impl Shelf {
    /// The pages of the log in `dir`.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, codecs: &CodecLookup) -> Result<Self, StoreError> {
        let dir = dir.join("pages");
        let pages = Pages::open(&dir, disk.clone(), codecs.clone())?;
        let codecs = codecs.clone();
        let (checked, bad, lost) = (HashMap::new(), BTreeSet::new(), Vec::new());
        Ok(Self { disk, dir, codecs, pages, checked, bad, lost, loose: None })
    }

    pub(crate) fn path(&self, no: u64) -> PathBuf {
        self.dir.join(page_name(no))
    }

    /// Whether a page that is needed is whole; when it is not, that is noted once. Errors: all but damage.
    pub(crate) fn is_whole(&mut self, page: &Page) -> Result<bool, StoreError> {
        if let Some(whole) = self.checked.get(&page.no) {
            return Ok(*whole);
        }
        let whole = match self.pages.read(page) {
            Ok(_) => true,
            Err(StoreError::Damaged { path, offset, .. }) => {
                self.bad.insert(page.no);
                let what = "the page is not as it was written";
                let records = u64::from(page.count);
                self.lost.push(Stretch { path, bytes: (offset, page.file_bytes), records, what });
                false
            }
            Err(error) => return Err(error),
        };
        self.checked.insert(page.no, whole);
        Ok(whole)
    }

    /// Records of a whole page.
    pub(crate) fn read(&self, page: &Page) -> Result<Vec<Record>, StoreError> {
        self.pages.read(page)
    }

    /// A record with the content of one number, out of whatever file still holds it.
    pub(crate) fn find(&mut self, place: Place, number: u64) -> Result<Option<Record>, StoreError> {
        if self.loose.is_none() {
            self.loose = Some(self.gather()?);
        }
        let found = self.loose.as_ref().and_then(|loose| loose.range(..=(place, number)).next_back());
        let found = found.filter(|((at, _), (last, _))| *at == place && *last >= number);
        Ok(found.map(|(_, (_, record))| record.clone()))
    }

    fn numbers(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list(&self.dir).map_err(StoreError::io("list", &self.dir))?;
        Ok(names.iter().filter_map(|name| page_number(name)).collect())
    }

    /// What the files hold that are not whole or not referred to.
    fn gather(&self) -> Result<Loose, StoreError> {
        let mut loose = BTreeMap::new();
        for no in self.numbers()? {
            let whole = self.checked.get(&no).is_some_and(|whole| *whole);
            if whole {
                continue;
            }
            let lost = &mut Vec::new();
            let found = salvage(self.disk.as_ref(), &self.path(no), (Kind::Page, no), &self.codecs, lost)?;
            for record in found.into_iter().flat_map(|(_, records)| records) {
                for (place, first, last) in contents(&record) {
                    loose.insert((place, first), (last, record.clone()));
                }
            }
        }
        Ok(loose)
    }

    /// Pages that nothing refers to, with the places that they belong to: whole ones only.
    pub(crate) fn orphans(&self) -> Result<Vec<(Place, bool, Page)>, StoreError> {
        let mut orphans = Vec::new();
        for no in self.numbers()?.into_iter().filter(|no| !self.checked.contains_key(no)) {
            let lost = &mut Vec::new();
            let found = salvage(self.disk.as_ref(), &self.path(no), (Kind::Page, no), &self.codecs, lost)?;
            let Some((header, records)) = found.filter(|_| lost.is_empty()) else { continue };
            let is_stream = matches!(records.first(), Some(Record::Append { .. }));
            let place = (QueueId(header.extent.queue), header.extent.shard);
            orphans.push((place, is_stream, described(no, &header, &records)));
        }
        Ok(orphans)
    }
}

/// The page that a file is, by what is in it.
fn described(no: u64, header: &SealedHeader, records: &[Record]) -> Page {
    let mut page = Page {
        no,
        file_bytes: header.bytes,
        first: header.extent.first,
        count: header.extent.messages,
        body_bytes: 0,
        cost_bytes: 0,
        first_ms: u64::MAX,
        last_ms: 0,
    };
    for record in records {
        let (messages, at_ms) = match record {
            Record::Enqueue { message, .. } => (std::slice::from_ref(message), message.published_ms),
            Record::Append { messages, at_ms, .. } => (messages.as_slice(), *at_ms),
            _ => continue,
        };
        page.body_bytes += messages.iter().map(|message| message.body.len() as u64).sum::<u64>();
        page.cost_bytes += messages.iter().map(|message| message.cost_bytes() as u64).sum::<u64>();
        (page.first_ms, page.last_ms) = (page.first_ms.min(at_ms), page.last_ms.max(at_ms));
    }
    page
}
