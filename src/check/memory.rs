//! The memory reserved for the capture kernel, and whether one is loaded into it.

use super::collector::{Distribution, Goal, Plan};
use super::distribution::{self, has_fadump};
use super::findings::Findings;
use super::image::Image;
use super::machine::Machine;
use crate::text::size;

const CHECK: &str = "memory";
/// What a capture kernel takes for itself with `nr_cpus=1`: page tables, drivers, early user space. Measured by
/// `benches/crashkernel.sh`, see docs/kdump.md: with this and what is below the sum is 3 to 17 % above the least
/// reservation that saved the dump, for images by dracut and by initramfs-tools.
const KERNEL: u64 = 48 << 20;
/// The bound of the collector's peak, whatever the size of RAM.
const COLLECTOR: u64 = 32 << 20;
/// The same where the dump goes into a store: two objects of 16 MiB are in memory, and the network's connections.
const UPLOADER: u64 = 48 << 20;
/// What each CPU but the first takes: a thread's buffers, 1.1 MiB measured, and the kernel's memory for a CPU.
const CPU: u64 = 2 << 20;
/// What of a dump one thread does alone, by profile: docs/performance.md, "Large machines".
const SERIAL_PERCENT: u64 = 4;
/// How many times as many CPUs are proposed.
const USEFUL: u64 = 4;
/// The image is in memory packed and unpacked at once; packed it is a third.
const IMAGE_COPIES: u64 = 4;

/// Whether the firmware keeps memory over a crash, and how much is reserved for the capture kernel then. Source: Linux
/// `Documentation/ABI/testing/sysfs-kernel-fadump`.
const REGISTERED: [&str; 2] = ["/sys/kernel/fadump/registered", "/sys/kernel/fadump_registered"];
const RESERVED: &str = "/sys/kernel/fadump/mem_reserved";

/// Checks the reservation. Source: Linux `Documentation/ABI/testing/sysfs-kernel-kexec-kdump`.
pub(super) fn check(machine: &Machine, plan: &Plan, image: Option<&Image>, findings: &mut Findings) {
    let loaded = if has_fadump(machine) {
        REGISTERED.iter().any(|file| machine.number(file) == Some(1))
    } else {
        machine.number("/sys/kernel/kexec_crash_loaded") == Some(1)
    };
    if !loaded {
        let text = "no capture kernel is loaded: the next crash is not saved";
        let hint = match plan.distribution {
            Distribution::None => "start vmcore-encrypt-load.service and look at its messages",
            _ => "start the kdump service and look at its messages",
        };
        findings.problem(CHECK, text, hint);
    }
    let size = if has_fadump(machine) { RESERVED } else { "/sys/kernel/kexec_crash_size" };
    let reserved = machine.number(size).unwrap_or(0);
    if reserved == 0 {
        findings.problem(CHECK, "no memory is reserved", "boot with crashkernel=, such as crashkernel=256M");
        return;
    }
    let packed = image.map_or(0, |image| image.size);
    let further = plan.cpus.saturating_sub(1);
    let collector = if matches!(plan.goal, Goal::Store) { UPLOADER } else { COLLECTOR };
    let need = KERNEL + collector + IMAGE_COPIES * packed + further.saturating_mul(CPU);
    let mut text = format!(
        "{} reserved, about {} needed: kernel {}, image {} times {IMAGE_COPIES}, collector {}",
        size::show(reserved),
        size::show(need),
        size::show(KERNEL),
        size::show(packed),
        size::show(collector)
    );
    if further > 0 {
        text.push_str(&format!(", {further} further CPUs {}", size::show(further.saturating_mul(CPU))));
    }
    if reserved >= need {
        findings.ok(CHECK, text);
        more_cpus(machine, plan, reserved - need, findings);
    } else {
        findings.warning(CHECK, text, &advice(plan, need));
    }
}

/// What more CPUs would bring, where the reservation has room for them and the machine has them.
fn more_cpus(machine: &Machine, plan: &Plan, room: u64, findings: &mut Findings) {
    let present = distribution::present_cpus(machine).unwrap_or(plan.cpus);
    let affordable = plan.cpus.saturating_add(room / CPU);
    let more = plan.cpus.saturating_mul(USEFUL).min(present).min(affordable);
    if more > plan.cpus {
        let hundredths = time_on(more) * 100 / time_on(plan.cpus);
        let cost = size::show((more - plan.cpus).saturating_mul(CPU));
        let text = format!(
            "the capture kernel uses {} of {present} CPUs: {more} would take {cost} more and 0.{hundredths:02} of the \
             time, as projected, where the target keeps up",
            plan.cpus
        );
        findings.ok(CHECK, text);
    }
}

/// The time of a dump on several CPUs, in millionths of that on one.
fn time_on(cpus: u64) -> u64 {
    const ONE: u64 = 1_000_000;
    const SERIAL: u64 = ONE / 100 * SERIAL_PERCENT;
    SERIAL + (ONE - SERIAL) / cpus.max(1)
}

/// How the reservation is raised.
fn advice(plan: &Plan, need: u64) -> String {
    const STEP: u64 = 16;
    let megabytes = need.div_ceil(STEP << 20) * STEP;
    match plan.distribution {
        // Source: SUSE kdump 2.1.9 `doc/man/kdump.5.txt.in`.
        Distribution::Suse => format!(
            "set KDUMP_CRASHKERNEL=\"crashkernel={megabytes}M\", or lower KDUMP_CPUS, then kdumptool commandline -u"
        ),
        _ => "crash the machine on purpose once, or raise crashkernel=".to_owned(),
    }
}
