//! What is needed to judge pages: the crashed kernel's memory, where its `struct page`s are, and the rules of every level
//! that is asked for. `walk` goes over the pages with it.

use super::beyond::Beyond;
use super::cpu_lists::{CpuLists, ListRules, Proof};
use super::dump_level::DumpLevel;
use super::rules::Rules;
use super::urgency::Urgency;
use super::warning::Warning;
use crate::kernel::Allocator;
use crate::mm::{self, KernelImage, KernelMemory, MemMap, PageLayout};
use crate::units::Pfn;
use crate::vmcore::Vmcore;
use std::cell::RefCell;
use std::sync::Arc;

/// Places where `struct page`s are tried before a whole run is trusted to them.
const PROBES: usize = 64;

/// Judges pages at one or several levels.
pub(super) struct Judge<'a> {
    pub memory: KernelMemory<'a>,
    pub mem_map: MemMap,
    pub layout: PageLayout,
    /// The rules of each level, in the order asked for.
    pub rules: Vec<Rules>,
    /// What is known of lists of CPUs.
    pub lists: RefCell<CpuLists>,
    /// What the kernel's own types tell, where they are asked for and usable.
    pub allocator: Option<Arc<Allocator>>,
    /// What tells urgent pages, where that is asked for.
    pub urgency: Option<Urgency>,
}

/// What a judge of several levels is made with.
pub(super) struct Judged<'a> {
    pub judge: Judge<'a>,
    /// What each level cannot tell.
    pub warnings: Vec<Vec<Warning>>,
    /// By what pages on lists of CPUs are known to be free, where they are left out.
    pub proof: Option<Proof>,
}

impl<'a> Judge<'a> {
    /// Prepares to judge pages at every one of `levels`.
    pub(super) fn prepare(
        vmcore: &'a Vmcore,
        levels: &[DumpLevel],
        beyond: Beyond,
    ) -> Result<Judged<'a>, Warning> {
        let (memory, mem_map, layout) = struct_pages(vmcore).map_err(Warning::NotJudged)?;
        let (rules, warnings) = levels.iter().map(|&level| Rules::new(memory.info(), layout, level)).unzip();
        let mut judge = Judge {
            memory,
            mem_map,
            layout,
            rules,
            lists: RefCell::default(),
            allocator: None,
            urgency: None,
        };
        judge.probe(vmcore)?;
        let offlined = beyond.offlined && judge.marks_online(vmcore);
        let lists = ListRules::new(&layout);
        let mut warnings: Vec<Vec<Warning>> = warnings;
        for ((rules, level), warnings) in judge.rules.iter_mut().zip(levels).zip(&mut warnings) {
            rules.leaves_offlined = offlined && level.excludes(DumpLevel::FREE);
            if beyond.cpu_lists && rules.leaves_free() {
                match lists {
                    Ok(lists) => rules.lists = Some(lists),
                    Err(key) => warnings.push(Warning::NotTold { kind: "free listed", key }),
                }
            }
        }
        let leaves_lists = judge.rules.iter().any(|rules| rules.lists.is_some());
        let leaves_compressed = beyond.compressed && judge.rules.iter().any(Rules::leaves_user);
        let proof = (leaves_lists || leaves_compressed).then(|| judge.ask_kernel(vmcore, beyond));
        let kind = judge.allocator.as_ref().and_then(|allocator| allocator.zsmalloc);
        for rules in judge.rules.iter_mut().filter(|rules| beyond.compressed && rules.leaves_user()) {
            rules.compressed = kind;
        }
        Ok(Judged { judge, warnings, proof: proof.filter(|_| leaves_lists) })
    }

    /// Asks the kernel for its page allocator.
    fn ask_kernel(&mut self, vmcore: &Vmcore, beyond: Beyond) -> Proof {
        let memory = vmcore.present().count().saturating_mul(vmcore.page_size().bytes());
        if memory < beyond.types_from {
            let least = beyond.types_from >> 20;
            return Proof::Lists(format!("the machine has less than {least} MiB of memory"));
        }
        match Allocator::read(&self.memory) {
            Ok(allocator) => {
                self.allocator = Some(Arc::new(allocator));
                Proof::Zones
            }
            Err(error) => Proof::Lists(error.line()),
        }
    }

    /// Makes it tell urgent pages as well.
    pub(super) fn tell_urgency(&mut self, image: KernelImage) {
        self.urgency = Some(Urgency::new(self, image, self.flags(image.text.start)));
    }

    /// Whether copies of this judge give the same verdict on a page, whatever pages each has judged before.
    pub(super) fn is_settled(&self) -> bool {
        self.urgency.as_ref().is_none_or(Urgency::is_settled)
    }

    /// A judge for another thread, which knows the rules and the slab caches that this one does.
    pub(super) fn again(&self, vmcore: &'a Vmcore) -> Option<Judge<'a>> {
        let (memory, mem_map, layout) = struct_pages(vmcore).ok()?;
        let (rules, allocator, urgency) = (self.rules.clone(), self.allocator.clone(), self.urgency.clone());
        Some(Judge { memory, mem_map, layout, rules, lists: RefCell::default(), allocator, urgency })
    }

    /// Tries some pages all over the memory: where no `struct page` at all can be read, a dump without
    /// verdicts should report it before it starts.
    fn probe(&self, vmcore: &Vmcore) -> Result<(), Warning> {
        let ranges = vmcore.backed().ranges();
        let step = ranges.len().div_ceil(PROBES).max(1);
        let mut failure = None;
        for range in ranges.iter().step_by(step) {
            for part in 0..4 {
                let pfn = Pfn(range.start.0 + range.count() / 4 * part);
                match self.read_one(pfn) {
                    Ok(Some(_)) => return Ok(()),
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.map_or(Warning::NoStructPages, Warning::NotJudged))
    }

    /// Whether this kernel marks sections that are online, as every kernel since v4.13 does ([`MemMap`] has the source):
    /// then one of the first has the mark, since the memory that a machine starts with is online.
    fn marks_online(&self, vmcore: &Vmcore) -> bool {
        let step = usize::try_from(self.mem_map.section_of(Pfn(0)).count()).unwrap_or(usize::MAX).max(1);
        let ranges = vmcore.backed().ranges().iter();
        let sections = ranges.flat_map(|range| (range.start.0..range.end.0).step_by(step));
        sections.take(PROBES).any(|pfn| {
            let has_structures = matches!(self.mem_map.struct_page(&self.memory, Pfn(pfn)), Ok(Some(_)));
            has_structures && !self.is_offlined(Pfn(pfn))
        })
    }

    /// Whether the page is of a section without the online mark.
    pub(super) fn is_offlined(&self, pfn: Pfn) -> bool {
        self.mem_map.is_offline(&self.memory, pfn)
    }

    /// The flags of a page whose structure can be read.
    fn flags(&self, pfn: Pfn) -> Option<u64> {
        let page = self.read_one(pfn).ok().flatten()?;
        Some(self.layout.u64(&page, self.layout.flags))
    }

    /// The `struct page` of `pfn`, where it has one.
    fn read_one(&self, pfn: Pfn) -> Result<Option<Vec<u8>>, mm::Error> {
        let Some(at) = self.mem_map.struct_page(&self.memory, pfn)? else { return Ok(None) };
        let mut page = vec![0; self.layout.size];
        self.memory.read(at, &mut page)?;
        Ok(Some(page))
    }
}

fn struct_pages(vmcore: &Vmcore) -> Result<(KernelMemory<'_>, MemMap, PageLayout), mm::Error> {
    let memory = KernelMemory::new(vmcore)?;
    let layout = PageLayout::new(memory.info(), vmcore.byte_order())?;
    let mem_map = MemMap::new(&memory, layout.size)?;
    Ok((memory, mem_map, layout))
}
