//! An ELF core as output. Pages may arrive in any order, holes cost nothing on disk, and the program
//! headers are written last, when it is known which pages came.

use super::Error;
use super::pages::PageTable;
use crate::blocks::{BlockMap, RunKind};
use crate::reader::{DumpHead, ElfCore};
use crate::sink::OutputFile;

/// An ELF core being written.
pub(super) struct ElfFile<'a> {
    output: &'a OutputFile,
    head: DumpHead,
    core: ElfCore,
    table: PageTable,
}

impl<'a> ElfFile<'a> {
    /// Starts a file: the room for headers and notes is set aside as a hole.
    pub(super) fn start(output: &'a OutputFile, head: DumpHead) -> ElfFile<'a> {
        let core = ElfCore::new(&head);
        ElfFile { output, head, core, table: PageTable::default() }
    }

    /// Writes what a record holds of the notes that are not in the head.
    pub(super) fn notes(&mut self, records: &[u8]) -> Result<(), Error> {
        let start = self.core.notes() + self.head.kdump.notes.len() as u64;
        for (offset, data) in self.head.streamed_notes(records) {
            self.output.write_at(data, start + offset)?;
        }
        Ok(())
    }

    /// Writes a block's pages to their places.
    pub(super) fn block(&mut self, map: &BlockMap, pages: &[u8]) -> Result<(), Error> {
        let mut rest = pages;
        for run in &map.runs {
            if run.kind == RunKind::Zero {
                continue;
            }
            let len = usize::try_from(run.pages.count()).unwrap_or(0) << self.head.page.shift();
            let (now, later) =
                rest.split_at_checked(len).ok_or_else(|| Error::malformed("a block lacks pages"))?;
            let place = self.core.place(run.pages).ok_or_else(|| {
                Error::malformed(&format!("{} is in no memory range of the dump", run.pages.start))
            })?;
            self.output.write_at(now, place)?;
            rest = later;
        }
        self.table.push(map, 0, &[]);
        Ok(())
    }

    /// Writes the headers and notes.
    pub(super) fn finish(mut self, complete: bool) -> Result<(), Error> {
        self.table.sort()?;
        let headers =
            self.core.headers(self.table.runs().map(|run| run.pages), complete).ok_or(Error::TooManyRuns)?;
        for (place, bytes) in &headers.parts {
            self.output.write_at(bytes, *place)?;
        }
        self.output.write_at(&self.head.kdump.notes, self.core.notes())?;
        let len = self.output.file().metadata()?.len();
        Ok(self.output.file().set_len(len.max(headers.len))?)
    }
}
