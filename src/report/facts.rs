//! What kernel and machine it was, how long it ran, and where it panicked.

use super::cpus::Cpu;
use super::log::Log;
use super::tasks::Task;
use super::trace::Trace;
use super::{Section, Source, lossy, taints};
use crate::kernel::{Error, Kernel, Object};
use crate::units::{PageSize, VirtAddr};
use serde::Serialize;

/// Bytes of each name in `struct new_utsname`, NUL included. Source: Linux `include/uapi/linux/utsname.h`.
const UTS_NAME: u64 = 65;
/// The longest text of the firmware about the machine.
const MAX_DMI: usize = 128;
const NANOS: i128 = 1_000_000_000;

/// Kernel and machine.
#[derive(Debug, Serialize)]
pub struct System {
    /// Kernel release, as uname -r prints it.
    pub release: Section<String>,
    /// Kernel version, as uname -v prints it.
    pub version: Section<String>,
    /// Host name.
    pub node: Section<String>,
    /// Architecture, as uname -m prints it.
    pub machine: &'static str,
    /// Maker and model.
    pub hardware: Option<String>,
    /// CPUs that the kernel took for running, and that are present.
    pub cpus: Section<(u32, u32)>,
    /// Bytes of a page.
    pub page_size: u64,
    /// How long it ran.
    pub uptime: Section<Uptime>,
    /// Letters of the kernel's taints.
    pub taints: Section<String>,
    /// Their meanings.
    pub taints_in_words: Vec<String>,
}

/// Time at the last tick before the crash.
#[derive(Debug, Serialize)]
pub struct Uptime {
    /// Seconds since boot, with those in suspend.
    pub seconds: u64,
    /// Seconds since 1970.
    pub at: i64,
}

/// The panic.
#[derive(Debug, Serialize)]
pub struct Crash {
    /// The panic's message.
    pub panic: Option<String>,
    /// Messages about faults before it.
    pub reasons: Vec<String>,
    /// The CPU that panicked.
    pub cpu: Option<u32>,
    /// Its task.
    pub task: Option<Task>,
    /// Its stack.
    pub trace: Option<Trace>,
    /// Names and values of its registers.
    #[serde(skip)]
    pub registers: Vec<(&'static str, u64)>,
}

pub(super) fn system(kernel: &Kernel<'_>, source: &Source<'_>) -> System {
    let mask = kernel.symbol("tainted_mask").and_then(|at| kernel.u64(at, "tainted_mask"));
    let words = mask.as_ref().map(|mask| taints::words(*mask)).unwrap_or_default();
    let info = source.memory.info();
    let release = uts_name(kernel, 2).or_else(|error| match info.string("OSRELEASE") {
        Some(release) => Ok(release.to_owned()),
        None => Err(error),
    });
    System {
        release: Section::of(release),
        version: Section::of(uts_name(kernel, 3)),
        node: Section::of(uts_name(kernel, 1)),
        machine: source.machine.facts().name,
        hardware: hardware(kernel),
        cpus: Section::of(cpus(kernel)),
        page_size: info.page_size().unwrap_or(PageSize::K4).bytes(),
        uptime: Section::of(uptime(kernel)),
        taints: Section::of(mask.map(taints::letters)),
        taints_in_words: words,
    }
}

/// A name of `struct new_utsname`: VMCOREINFO leads to it, so that it needs no types.
fn uts_name(kernel: &Kernel<'_>, nth: u64) -> Result<String, Error> {
    let names = match kernel.memory().info().offset("uts_namespace.name") {
        Some(offset) => offset,
        None => kernel.offset_of("uts_namespace", "name")?,
    };
    let at = kernel.symbol("init_uts_ns")?.wrapping_add(names).wrapping_add(nth * UTS_NAME);
    Ok(lossy(&kernel.text(at, 64, "a name of the system")?))
}

fn cpus(kernel: &Kernel<'_>) -> Result<(u32, u32), Error> {
    let count =
        |mask| -> Result<u32, Error> { Ok(u32::try_from(kernel.cpus(mask)?.len()).unwrap_or(u32::MAX)) };
    Ok((count("online")?, count("present")?))
}

/// Maker and model, from what the firmware told the kernel. Source: Linux `drivers/firmware/dmi_scan.c`, `dmi_ident`.
fn hardware(kernel: &Kernel<'_>) -> Option<String> {
    let table = kernel.symbol("dmi_ident").ok()?;
    let text = |field: &str| {
        let nth = u64::try_from(kernel.enumerator(field).ok()?).ok()?;
        let at =
            kernel.u64(table.wrapping_add(nth.checked_mul(8)?), "dmi_ident").ok().filter(|&at| at != 0)?;
        Some(lossy(&kernel.text(VirtAddr(at), MAX_DMI, "the name of the machine").ok()?))
    };
    let names = ["DMI_SYS_VENDOR", "DMI_PRODUCT_NAME"].into_iter().filter_map(text);
    let names: Vec<String> = names.filter(|name| !name.trim().is_empty()).collect();
    (!names.is_empty()).then(|| names.join(" "))
}

/// Wall clock time plus the two offsets to time since boot. The timekeeper was a variable of `tk_core` after a counter, has
/// a place in it by name since `struct tk_data`, and is an array since commit 22c62b9a84b8 ("timekeeping: Introduce
/// auxiliary timekeepers") (in v6.17).
fn uptime(kernel: &Kernel<'_>) -> Result<Uptime, Error> {
    let keeper = timekeeper(kernel)?;
    let seconds = keeper.int("xtime_sec")?;
    let shift = keeper.uint("tkr_mono.shift")?;
    if shift > 63 {
        return Err(Error::Absurd { what: "shift of the clock", value: shift });
    }
    let nanos = keeper.uint("tkr_mono.xtime_nsec")? >> shift;
    let monotonic = i128::from(keeper.int("wall_to_monotonic.tv_sec")?) * NANOS
        + i128::from(keeper.int("wall_to_monotonic.tv_nsec")?);
    let boot = keeper.int("offs_boot.tv64").or_else(|_| keeper.int("offs_boot"))?;
    let up = i128::from(seconds) * NANOS + i128::from(nanos) + monotonic + i128::from(boot);
    let absurd = Error::Absurd { what: "time since boot", value: seconds.cast_unsigned() };
    Ok(Uptime { seconds: u64::try_from(up / NANOS).map_err(|_| absurd)?, at: seconds })
}

fn timekeeper<'k>(kernel: &'k Kernel<'k>) -> Result<Object<'k>, Error> {
    if let Ok(array) = kernel.symbol("timekeeper_data") {
        // Source: Linux `kernel/time/timekeeping.c`, `struct tk_data`.
        return kernel.object("tk_data", array)?.part("timekeeper");
    }
    let core = kernel.symbol("tk_core")?;
    match kernel.object("tk_data", core) {
        Ok(data) => data.part("timekeeper"),
        Err(_) => kernel.object("timekeeper", core.wrapping_add(8)),
    }
}

/// The CPU that panicked, by what the kernel notes first. Source: Linux `kernel/panic.c`, `panic_cpu`; before v4.5
/// `crashing_cpu` of x86-64 and ppc64 alone.
pub(super) fn panicked_cpu(kernel: &Kernel<'_>) -> Option<u32> {
    ["panic_cpu", "crashing_cpu"].into_iter().find_map(|name| {
        let cpu = kernel.symbol(name).and_then(|at| kernel.u32(at, "the number of the CPU that panicked"));
        cpu.ok().filter(|cpu| *cpu < crate::kernel::MAX_CPUS)
    })
}

pub(super) fn crash(
    kernel: &Kernel<'_>,
    log: Option<&Log>,
    panicked: Option<u32>,
    cpus: Option<&[Cpu]>,
) -> Crash {
    let cpu = cpus.unwrap_or_default().iter().find(|cpu| cpu.panicked);
    let task = cpu.and_then(|cpu| cpu.task.read().cloned());
    let alone = || super::tasks::current(kernel, panicked?).ok();
    Crash {
        panic: log.and_then(|log| log.panic.clone()),
        reasons: log.map(|log| log.reasons.clone()).unwrap_or_default(),
        cpu: panicked,
        task: task.or_else(alone),
        trace: cpu.and_then(|cpu| cpu.trace.clone()),
        registers: cpu.map(|cpu| cpu.registers.clone()).unwrap_or_default(),
    }
}
