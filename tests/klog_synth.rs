//! The kernel log out of synthetic memory: every kernel's layout, the ring's corners, and damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

mod synth;

use std::error::Error as StdError;
use synth::{Core, Kernel, Log, Message, Place, State, Synth, arch, kernel};
use vmcore_encrypt::klog::{self, Error, KernelRead, Start, Stats};
use vmcore_encrypt::units::{ByteOrder, VirtAddr};
use vmcore_encrypt::vmcore::VmcoreInfo;

/// A core's kernel image mapping, by the description instead of page tables.
struct Image<'a> {
    core: &'a Core,
    info: VmcoreInfo,
    /// Physical pages that cannot be read.
    gone: Vec<u64>,
}

impl<'a> Image<'a> {
    fn new(core: &'a Core) -> Image<'a> {
        Image { core, info: VmcoreInfo::parse(core.vmcoreinfo.as_bytes()), gone: vec![] }
    }

    fn dmesg(&self, start: Start) -> Result<(String, Stats), Error> {
        let mut out = Vec::new();
        let stats = klog::dmesg_from(self, start, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), stats))
    }
}

impl KernelRead for Image<'_> {
    fn info(&self) -> &VmcoreInfo {
        &self.info
    }

    fn byte_order(&self) -> ByteOrder {
        match self.core.arch.order {
            synth::memory::Order::Little => ByteOrder::Little,
            synth::memory::Order::Big => ByteOrder::Big,
        }
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let paddr = at.0.wrapping_sub(self.core.arch.image);
        let (start, end) = self.core.arena();
        if paddr < start || paddr.saturating_add(buf.len() as u64) > end {
            return Err("not mapped".into());
        }
        let mut page = vec![0; 4096];
        for (at, byte) in (paddr..).zip(buf) {
            if self.gone.contains(&(at / 4096)) {
                return Err("gone".into());
            }
            if at == paddr || at % 4096 == 0 {
                self.core.read_page(at / 4096, &mut page);
            }
            *byte = page[usize::try_from(at % 4096).unwrap()];
        }
        Ok(())
    }
}

fn machine(kernel: Kernel) -> Synth {
    Synth::new(arch::x86_64::four_level(), kernel).ram(0x10_0000..0x100_0000)
}

fn read(log: Log, kernel: Kernel) -> (Core, String, Stats) {
    let core = machine(kernel).log(log).build();
    let (text, stats) = Image::new(&core).dmesg(Start::Oldest).unwrap();
    (core, text, stats)
}

#[test]
fn every_kernel_s_log_reads_back() {
    let mut kernels = kernel::all();
    kernels.push(Kernel { log: kernel::LogKind::Records { caller: true }, ..kernel::v4_18() });
    for kernel in kernels {
        let (core, text, stats) = read(Log::sample(), kernel);
        assert_eq!(text, core.log, "{}", core.kernel.release);
        assert!(stats.printed > 100 && stats.damaged == 0, "{stats:?}");
        let (since, _) = Image::new(&core).dmesg(Start::LastClear).unwrap();
        assert_eq!(since, core.log_since_clear, "{}", core.kernel.release);
        assert!(!since.is_empty() && since.len() < text.len());
    }
}

#[test]
fn a_clear_that_scrolled_away_prints_everything() {
    for kernel in [kernel::v4_18(), kernel::v6_12()] {
        let core = machine(kernel).log(Log { clear_seq: 3, ..Log::sample() }).build();
        assert_eq!(Image::new(&core).dmesg(Start::LastClear).unwrap().0, core.log);
    }
}

/// Blocks of 64 bytes: the last one of each lap ends exactly where the ring does.
#[test]
fn a_block_may_end_where_the_ring_ends() {
    let text = |n: u64| format!("{n:<56}");
    let messages: Vec<_> = (0..200).map(|n| Message::new(n, 1, &text(n))).collect();
    let (new, text, _) = read(Log::of(messages.clone()), kernel::v7_1());
    assert_eq!(text, new.log);
    assert_eq!(text.lines().count(), 128);
    let (old, text, _) = read(Log::of(messages), kernel::v6_12());
    assert_eq!(text, old.log);
    assert!(text.lines().count() < 128, "older kernels start over instead");
}

#[test]
fn messages_without_text() {
    let mut messages = vec![Message::new(1000, 1, "first"), Message::empty(2000), Message::lost(3000)];
    messages.extend([Message::new(4000, 1, ""), Message::new(5000, 1, "last")]);
    messages.push(Message { state: State::Reusable, ..Message::new(6000, 1, "recycled") });
    let (core, text, stats) = read(Log::of(messages), kernel::v6_12());
    assert_eq!(text, core.log);
    assert_eq!(text.lines().count(), 4);
    assert_eq!(stats, Stats { printed: 4, unfinished: 1, damaged: 0 });
    assert!(core.log.contains("[      T0] \n"), "an empty line is printed: {text:?}");
    assert_eq!(Message::lost(0).place, Place::Lost);
}

#[test]
fn an_empty_log_prints_nothing() {
    for kernel in kernel::all() {
        let (_, text, stats) = read(Log::of(vec![]), kernel);
        assert_eq!((text.as_str(), stats.printed), ("", 0));
    }
}

#[test]
fn the_caller_is_left_out_when_the_kernel_does_not_say() {
    let core = machine(kernel::v6_1()).without_key("OFFSET(printk_info.caller_id)").build();
    let (text, _) = Image::new(&core).dmesg(Start::Oldest).unwrap();
    assert!(text.starts_with("[   ") && !text.contains(" T1"));
}

#[test]
fn missing_keys_are_named() {
    let core = machine(kernel::v6_12()).without_key("SIZE(prb_desc)").build();
    let error = Image::new(&core).dmesg(Start::Oldest).unwrap_err();
    assert_eq!(error.to_string(), "VMCOREINFO has no usable SIZE(prb_desc)");
    let core = machine(kernel::v6_12()).without_key("SYMBOL(prb)").build();
    assert!(matches!(Image::new(&core).dmesg(Start::Oldest), Err(Error::NoLog)));
}

#[test]
fn absurd_sizes_are_refused() {
    let mut core = machine(kernel::v6_12()).build();
    let ring = core.log_places.iter().find(|(name, _)| *name == "printk_rb_static").unwrap().1;
    core.damage(ring, &[63, 0, 0, 0]);
    let error = Image::new(&core).dmesg(Start::Oldest).unwrap_err();
    assert_eq!(error.to_string(), "the kernel log has an absurd log2 of the descriptor count: 0x3f");
}

/// A block that names another message as its owner has been overwritten.
#[test]
fn a_block_is_its_owner_s_alone() {
    let messages: Vec<_> = ["one", "two", "three"].map(|text| Message::new(0, 1, text)).to_vec();
    let mut core = machine(kernel::v6_12()).log(Log::of(messages)).build();
    let data = core.log_places.iter().find(|(name, _)| *name == "text").unwrap().1;
    core.damage(data + 16, &[0xff]);
    let (text, stats) = Image::new(&core).dmesg(Start::Oldest).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(!text.contains("two"));
    assert_eq!(stats, Stats { printed: 2, unfinished: 0, damaged: 1 });
}

/// Unreadable pages cost the messages on them.
#[test]
fn unreadable_pages_cost_only_their_messages() {
    for kernel in [kernel::v6_1(), kernel::v7_1()] {
        let core = machine(kernel).build();
        let (start, end) = core.arena();
        for page in start / 4096..end / 4096 {
            let image = Image { gone: vec![page], ..Image::new(&core) };
            let Ok((text, stats)) = image.dmesg(Start::Oldest) else { continue };
            assert_eq!(text.lines().filter(|line| !core.log.contains(line)).count(), 0);
            assert!(stats.damaged > 0 || text == core.log);
            assert!(stats.printed + stats.unfinished + stats.damaged <= 256, "{stats:?}");
        }
    }
}

/// Whatever the memory holds, reading ends, and no more lines come than the log can hold.
#[test]
fn garbage_ends() {
    for (kernel, seed) in kernel::all().into_iter().zip(1u64..) {
        let mut core = machine(kernel).build();
        let first = core.log_places.iter().map(|(_, at)| *at).min().unwrap() & !0xfff;
        let mut state = seed;
        for _ in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = first + (state >> 33) % 0x6000;
            core.damage(at, &state.to_le_bytes()[..1 + usize::try_from(state % 8).unwrap()]);
            if let Ok((_, stats)) = Image::new(&core).dmesg(Start::LastClear) {
                assert!(stats.printed <= 1 << 13, "{stats:?}");
            }
        }
    }
}
