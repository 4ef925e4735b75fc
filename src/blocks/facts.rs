//! The head and the tail of a stream: what is known before the first page and after the last, as JSON
//! in skippable frames. Readers ignore members they do not know.

use super::Error;
use crate::units::{Pfn, PfnRange};
use serde::{Deserialize, Serialize};

/// The format's version; a reader refuses a larger one.
const VERSION: u32 = 1;

/// A range of the crashed kernel's memory as its vmcore listed it: one `PT_LOAD`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// First physical address, bytes.
    pub paddr: u64,
    /// First virtual address, bytes; 0 where the vmcore gives none.
    pub vaddr: u64,
    /// Length in memory, bytes.
    pub size: u64,
}

/// What is known when the dump starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Version of this format.
    pub version: u32,
    /// Program and version that wrote the dump.
    pub creator: String,
    /// `e_machine` of the vmcore.
    pub machine: u16,
    /// Whether numbers inside the dump are big-endian.
    pub big_endian: bool,
    /// Page size of the crashed kernel, bytes.
    pub page_size: u64,
    /// Which pages were left out: makedumpfile's bit mask.
    pub dump_level: u8,
    /// Number of pfns, holes included: both bitmaps have this many bits.
    pub max_mapnr: u64,
    /// Kernel release (`OSRELEASE` of VMCOREINFO), empty when unknown.
    pub release: String,
    /// Seconds since 1970 when the kernel crashed; 0 when unknown.
    pub crash_time: i64,
    /// Where the shared zero page is in the KDUMP file, bytes; page data follows it.
    pub data_offset: u64,
    /// The memory ranges.
    pub segments: Vec<SegmentFacts>,
    /// Bytes of notes that travel as records of their own, after those of the KDUMP file's head: device dumps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub streamed_notes: u64,
    /// Whether the kernel was running while its memory was saved: a moving target, whose pages need not fit together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
    /// Whether page structures that describe only pages that are left out are left out too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_structures: bool,
    /// Which part of a dump this is; none when it is the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartFacts>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One of several dumps that were written at the same time, each with the pages of its own range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFacts {
    /// What the parts of one dump have in common: 32 hex digits, random.
    pub set: String,
    /// Its number, from 1.
    pub number: u32,
    /// How many parts there are.
    pub of: u32,
    /// First pfn of its range.
    pub start: u64,
    /// First pfn after it.
    pub end: u64,
}

/// Pages per class, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Pages that exist, each counted once.
    pub present: u64,
    /// All pfns up to the last, holes included.
    pub total: u64,
    /// Filled with zero (by content, of those not excluded for another reason).
    pub zero: u64,
    /// Page cache without private data.
    pub cache: u64,
    /// Page cache with private data.
    pub cache_private: u64,
    /// User process data.
    pub user: u64,
    /// Free.
    pub free: u64,
    /// Poisoned by a hardware error.
    pub hwpoison: u64,
    /// Logically offline.
    pub offline: u64,
    /// Of memory blocks that were taken offline: nobody uses them. Not among the free.
    #[serde(default)]
    pub offlined: u64,
    /// Free, on lists of CPUs. Not among the free.
    #[serde(default)]
    pub cpu_lists: u64,
    /// User data that the kernel kept compressed. Not among the user data.
    #[serde(default)]
    pub compressed: u64,
    /// Of page structures that describe only pages that are left out.
    #[serde(default)]
    pub structures: u64,
    /// Could not be read from the vmcore.
    pub unreadable: u64,
    /// Promised by the vmcore's segments, and not in its file.
    #[serde(default)]
    pub missing: u64,
    /// Pages of the kernel image among those that are unreadable or missing.
    #[serde(default)]
    pub image_lost: u64,
    /// Saved with their data.
    pub saved: u64,
    /// Kept since nothing tells their class: their page structures are missing or could not be read.
    #[serde(default)]
    pub unjudged: u64,
    /// Kept since their page structures contradict themselves.
    #[serde(default)]
    pub doubtful: u64,
    /// Kept though they look free, since the lists that they are on are broken or too long.
    #[serde(default)]
    pub doubtful_lists: u64,
    /// Left out by an earlier filter: the input had no data for them.
    #[serde(default)]
    pub left_out: u64,
}

/// What is known when the dump ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Page counts.
    pub pages: ClassCounts,
    /// Where the last index piece starts in the decrypted stream; none when there is no block.
    pub last_index: Option<u64>,
    /// Whether the dump holds everything the level asks for; false when a size limit ended it, or when more pages are
    /// lost than [`ClassCounts::is_lacking`] allows.
    pub complete: bool,
    /// Where the copy of the head starts in the decrypted stream; none in dumps of 0.1.0, and where it would be large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_copy: Option<u64>,
}

/// Tag of the frame that repeats the stream's first two frames, the head and the one with the KDUMP headers, byte for
/// byte: damage to the first chunk then costs no more than what is in it.
pub const HEAD_COPY_TAG: [u8; 4] = *b"VCEc";

/// A dump that lacks more than one in this many of the pages it should hold is incomplete.
const LACKING: u64 = 1000;

impl ClassCounts {
    /// Pages that the dump should hold and that were not to be had: unreadable, or not in the vmcore's file.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.unreadable.saturating_add(self.missing)
    }

    /// Pages that the dump should hold.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.saved.saturating_add(self.zero).saturating_add(self.lost())
    }

    /// Whether so many pages are lost that the dump is incomplete: more than one in a thousand of those that it should
    /// hold. The few pages that broken memory costs stay below that, even where the memory broke a kernel down (a bad
    /// row of a DIMM is some tens of pages); a part of the machine that cannot be read, or a copy that is cut, does not.
    /// The level leaves user data and caches out as a rule, so the pages are those that every level keeps.
    ///
    /// The kernel image is a few thousand pages, which the share would hide on a large machine. All analysis starts
    /// there: it holds the code and whatever VMCOREINFO names by address. So a single page of it makes the dump incomplete.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.image_lost > 0 || u128::from(self.lost()) * u128::from(LACKING) > u128::from(self.asked())
    }

    /// Adds what another part of the same dump counted. The memory itself is the same, so it counts once.
    #[must_use]
    pub fn join(self, other: ClassCounts) -> ClassCounts {
        ClassCounts {
            present: self.present.max(other.present),
            total: self.total.max(other.total),
            zero: self.zero.saturating_add(other.zero),
            cache: self.cache.saturating_add(other.cache),
            cache_private: self.cache_private.saturating_add(other.cache_private),
            user: self.user.saturating_add(other.user),
            free: self.free.saturating_add(other.free),
            hwpoison: self.hwpoison.saturating_add(other.hwpoison),
            offline: self.offline.saturating_add(other.offline),
            offlined: self.offlined.saturating_add(other.offlined),
            cpu_lists: self.cpu_lists.saturating_add(other.cpu_lists),
            compressed: self.compressed.saturating_add(other.compressed),
            structures: self.structures.saturating_add(other.structures),
            doubtful_lists: self.doubtful_lists.saturating_add(other.doubtful_lists),
            unreadable: self.unreadable.saturating_add(other.unreadable),
            missing: self.missing.saturating_add(other.missing),
            image_lost: self.image_lost.saturating_add(other.image_lost),
            saved: self.saved.saturating_add(other.saved),
            unjudged: self.unjudged.saturating_add(other.unjudged),
            doubtful: self.doubtful.saturating_add(other.doubtful),
            left_out: self.left_out.saturating_add(other.left_out),
        }
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|cause| Error::malformed("head", cause.to_string()))
}

/// Memory ranges in one frame: what fits with room to spare.
const SEGMENTS_PER_FRAME: usize = 50_000;

impl Head {
    /// Tag of the head's frame.
    pub const TAG: [u8; 4] = *b"VCEh";
    /// Tag of a frame with further memory ranges, right after the head's.
    pub const SEGMENTS_TAG: [u8; 4] = *b"VCEs";
    /// Version written.
    pub const VERSION: u32 = VERSION;

    /// The pfns that the dump describes: all, or those of a part.
    #[must_use]
    pub fn pages(&self) -> PfnRange {
        let all = PfnRange::new(0, self.max_mapnr);
        self.part
            .as_ref()
            .map_or(all, |part| all.intersect(PfnRange { start: Pfn(part.start), end: Pfn(part.end) }))
    }

    /// The content of the head's frame, with as many memory ranges as fit.
    ///
    /// # Errors
    /// Unexpected: the members are plain numbers and strings.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        if self.segments.len() <= SEGMENTS_PER_FRAME {
            return to_json(self);
        }
        to_json(&Head { segments: self.segments[..SEGMENTS_PER_FRAME].to_vec(), ..self.clone() })
    }

    /// The contents of the frames with the memory ranges that did not fit.
    ///
    /// # Errors
    /// As [`Head::encode`].
    pub fn encode_more(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.segments.chunks(SEGMENTS_PER_FRAME).skip(1).map(to_json).collect()
    }

    /// The memory ranges of a further frame.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no such JSON.
    pub fn parse_more(bytes: &[u8]) -> Result<Vec<SegmentFacts>, Error> {
        serde_json::from_slice(bytes).map_err(|cause| Error::malformed("head", cause.to_string()))
    }

    /// Reads a head back.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no such JSON or of a version we do not know.
    pub fn parse(bytes: &[u8]) -> Result<Head, Error> {
        let head: Head =
            serde_json::from_slice(bytes).map_err(|cause| Error::malformed("head", cause.to_string()))?;
        if head.version > VERSION {
            let why = format!("version {} of the format is newer than this program", head.version);
            return Err(Error::malformed("head", why));
        }
        Ok(head)
    }
}

impl Tail {
    /// Whether the dump holds what the level asks for. Collectors before 0.2 did not count lost pages.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete && !self.pages.is_lacking()
    }

    /// Tag of the tail's frame.
    pub const TAG: [u8; 4] = *b"VCEt";
    /// Bytes at the very end of the stream that lead to the tail: position and magic.
    pub const TRAILER_LEN: usize = 16;
    const MAGIC: [u8; 8] = *b"VCEtail\n";

    /// The content of the tail's frame when that starts at `offset` of the stream: JSON, then the
    /// trailer: `offset` (u64 little endian) and a magic of eight bytes.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self, offset: u64) -> Result<Vec<u8>, Error> {
        let mut bytes =
            serde_json::to_vec(self).map_err(|cause| Error::malformed("tail", cause.to_string()))?;
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&Tail::MAGIC);
        Ok(bytes)
    }

    /// Where the tail's frame starts, from the last [`Tail::TRAILER_LEN`] bytes of a stream; `None`
    /// when the stream has no tail.
    #[must_use]
    pub fn locate(trailer: [u8; Tail::TRAILER_LEN]) -> Option<u64> {
        let (offset, magic) = trailer.split_first_chunk::<8>()?;
        (magic == Tail::MAGIC).then(|| u64::from_le_bytes(*offset))
    }

    /// Reads a tail back from its frame's content, which is at byte `at` of the stream.
    ///
    /// # Errors
    /// [`Error::Malformed`], also when its trailer does not lead to it.
    pub fn parse_at(content: &[u8], at: u64) -> Result<Tail, Error> {
        match content.last_chunk().and_then(|trailer| Tail::locate(*trailer)) {
            Some(place) if place == at => Tail::parse(content),
            _ => Err(Error::malformed("tail", "its last bytes do not lead to it")),
        }
    }

    /// Reads a tail back from its frame's content.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(content: &[u8]) -> Result<Tail, Error> {
        let len = content.len().saturating_sub(Tail::TRAILER_LEN);
        serde_json::from_slice(&content[..len]).map_err(|cause| Error::malformed("tail", cause.to_string()))
    }
}

#[cfg(test)]
impl Head {
    /// Of a small whole dump, for tests.
    pub(crate) fn sample() -> Head {
        Head {
            version: 1,
            creator: "test".into(),
            machine: 62,
            big_endian: false,
            page_size: 4096,
            dump_level: 31,
            max_mapnr: 9,
            release: "6.1".into(),
            crash_time: 1,
            data_offset: 4096,
            segments: vec![SegmentFacts { paddr: 0, vaddr: 0, size: 9 << 12 }],
            streamed_notes: 0,
            live: false,
            without_structures: false,
            part: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_in_a_thousand_may_be_lost() {
        let counts =
            |saved, unreadable, missing| ClassCounts { saved, unreadable, missing, ..ClassCounts::default() };
        assert!(!counts(0, 0, 0).is_lacking() && !counts(5, 0, 0).is_lacking());
        assert!(!counts(999, 1, 0).is_lacking() && !counts(1998, 1, 1).is_lacking());
        assert!(
            counts(998, 1, 0).is_lacking() && counts(1997, 1, 1).is_lacking() && counts(0, 0, 1).is_lacking()
        );
        assert!(counts(u64::MAX, u64::MAX, u64::MAX).is_lacking());
        assert!(ClassCounts { image_lost: 1, ..counts(1 << 40, 1, 0) }.is_lacking());
        let tail = |pages, complete| Tail { pages, last_index: None, complete, head_copy: None };
        assert!(tail(counts(9, 0, 0), true).is_complete() && !tail(counts(9, 0, 0), false).is_complete());
        assert!(!tail(counts(9, 1, 0), true).is_complete());
    }

    #[test]
    fn the_head_comes_back_and_a_newer_one_is_refused() {
        assert_eq!(Head::parse(&Head::sample().encode().unwrap()).unwrap(), Head::sample());
        let newer = Head { version: 2, ..Head::sample() }.encode().unwrap();
        assert!(Head::parse(&newer).unwrap_err().to_string().contains("newer"));
    }

    #[test]
    fn memory_ranges_that_are_too_many_for_a_frame_come_in_more() {
        let range = SegmentFacts { paddr: u64::MAX >> 12, vaddr: u64::MAX, size: 1 << 40 };
        let head = Head { segments: vec![range; 2 * SEGMENTS_PER_FRAME + 1], ..Head::sample() };
        let (first, more) = (head.encode().unwrap(), head.encode_more().unwrap());
        assert!(more.len() == 2 && first.len() < crate::blocks::MAX_FRAME_CONTENT);
        let mut back = Head::parse(&first).unwrap();
        more.iter().for_each(|more| back.segments.extend(Head::parse_more(more).unwrap()));
        assert_eq!(back, head);
        assert!(Head::parse_more(b"{").is_err());
    }

    #[test]
    fn the_tail_comes_back_by_its_trailer() {
        let tail = Tail {
            pages: ClassCounts { zero: 3, ..ClassCounts::default() },
            last_index: Some(5),
            complete: true,
            head_copy: Some(4),
        };
        let bytes = tail.encode(77).unwrap();
        assert_eq!(Tail::locate(*bytes.last_chunk().unwrap()), Some(77));
        assert_eq!(Tail::parse(&bytes).unwrap(), tail);
        assert_eq!(Tail::locate([0; 16]), None);
        assert!(Tail::parse(&[]).is_err());
    }
}
