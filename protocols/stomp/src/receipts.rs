//! Receipts in order. A RECEIPT says that the server has dealt with every earlier frame, so it waits behind every
//! SEND before it that is not confirmed yet.

use model::{Name, ids::ConfirmToken};
use std::collections::VecDeque;

#[derive(Debug)]
struct Entry {
    done: bool,
    receipt: Option<Name>,
}

/// What waits for a confirm, and the receipts that wait behind it.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Token of the front entry; entries are numbered consecutively.
    first: u64,
    entries: VecDeque<Entry>,
}

impl Receipts {
    /// Entries that wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A SEND that is to be confirmed.
    pub(crate) fn open(&mut self, receipt: Option<Name>) -> ConfirmToken {
        let token = ConfirmToken(self.first + self.entries.len() as u64);
        self.entries.push_back(Entry { done: false, receipt });
        token
    }

    /// The receipt of a frame that was dealt with.
    pub(crate) fn add(&mut self, receipt: Name) {
        self.entries.push_back(Entry { done: true, receipt: Some(receipt) });
    }

    /// A SEND is safe.
    pub(crate) fn confirm(&mut self, token: ConfirmToken) {
        if let Some(entry) = self.entry(token) {
            entry.done = true;
        }
    }

    /// A SEND came to nothing: there will be no receipt for it, and none waits for it. Gives the receipt it asked for.
    pub(crate) fn refuse(&mut self, token: ConfirmToken) -> Option<Name> {
        let entry = self.entry(token)?;
        entry.done = true;
        entry.receipt.take()
    }

    fn entry(&mut self, token: ConfirmToken) -> Option<&mut Entry> {
        let index = usize::try_from(token.0.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// The next receipt that may go out; drops what needs none.
    pub(crate) fn next(&mut self) -> Option<Name> {
        while self.entries.front()?.done {
            self.first += 1;
            if let Some(receipt) = self.entries.pop_front()?.receipt {
                return Some(receipt);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_waits_for_all_before_it() {
        let mut receipts = Receipts::default();
        let first = receipts.open(Some(Name::from_static("a")));
        let second = receipts.open(None);
        receipts.add(Name::from_static("c"));
        let refused = receipts.open(Some(Name::from_static("d")));
        receipts.confirm(second);
        receipts.confirm(second);
        assert_eq!(receipts.next(), None);
        receipts.confirm(first);
        assert_eq!(receipts.next().as_deref(), Some("a"));
        assert_eq!(receipts.next().as_deref(), Some("c"));
        assert_eq!(receipts.next(), None);
        assert_eq!(receipts.refuse(refused).as_deref(), Some("d"));
        assert_eq!(receipts.next(), None);
        assert!(receipts.is_empty());
        receipts.confirm(first);
        receipts.confirm(ConfirmToken(99));
    }
}
