//! Ways on which the kernel itself hands its log on in plain, beside the dump: pstore, the hypervisor, consoles.
//!
//! A panic with a capture kernel loaded jumps into it before panic notifiers, `panic_print` and the kmsg dumpers
//! run (pstore and Hyper-V are such), unless `crash_kexec_post_notifiers` is set. Source: Linux `kernel/panic.c`,
//! `vpanic` (v6.18). Code that sets it: Hyper-V (`drivers/hv/hv_common.c`, commit a11589563e96, v5.7), FADump
//! (`arch/powerpc/kernel/fadump.c`), hosts of SEV-SNP guests (`arch/x86/virt/svm/sev.c`). An oops that is no panic
//! runs the dumpers and jumps nowhere. Consoles get every line when it is logged.

use super::findings::Findings;
use super::machine::Machine;
use std::fs;

const CHECK: &str = "log";
const PARAMETERS: &str = "/sys/module/kernel/parameters";

/// Reports each way that the log can take on this machine.
pub(super) fn check(machine: &Machine, findings: &mut Findings) {
    let before = findings.len();
    let early = is_yes(machine, &format!("{PARAMETERS}/crash_kexec_post_notifiers"));
    check_post_notifiers(early, findings);
    check_pstore(machine, early, findings);
    check_hypervisor(machine, early, findings);
    check_panic_print(machine, early, findings);
    check_consoles(machine, findings);
    check_netconsole(machine, findings);
    if findings.len() == before {
        findings
            .ok(CHECK, "nothing hands the kernel log on in plain: no pstore, no serial or network console");
    }
}

fn check_post_notifiers(early: bool, findings: &mut Findings) {
    if early {
        findings.warning(
            CHECK,
            "crash_kexec_post_notifiers is set: a panic hands the log to pstore and the hypervisor before the \
             capture kernel starts",
            "boot without crash_kexec_post_notifiers; Hyper-V, FADump and hosts of SEV-SNP guests set it themselves",
        );
    }
}

/// Source: Linux `fs/pstore/platform.c`, `fs/pstore/ram.c`; pstore.conf(5).
fn check_pstore(machine: &Machine, early: bool, findings: &mut Findings) {
    let backend = machine.read("/sys/module/pstore/parameters/backend").unwrap_or_default();
    let backend = backend.trim();
    if matches!(backend, "" | "(null)" | "null" | "none") {
        return;
    }
    let console = machine.number("/sys/module/ramoops/parameters/console_size").unwrap_or(0) > 0;
    let oops_panics = machine.number("/proc/sys/kernel/panic_on_oops").unwrap_or(0) != 0;
    let when = match (early, console, oops_panics) {
        (true, ..) => "every panic, before the capture kernel starts",
        (_, true, _) => "every line when it is logged (console_size of ramoops)",
        (_, _, false) => "every oops that is no panic, and a panic where the capture kernel does not start",
        (_, _, true) => "a panic where the capture kernel does not start",
    };
    let text = format!("pstore keeps the kernel log in plain ({backend}): {when}");
    // It encrypts the records before systemd-pstore copies them.
    let is_taken_over = machine.is_enabled("vmcore-encrypt-pstore.service", "sysinit.target");
    let text = if is_taken_over { text } else { text + "; systemd-pstore copies it to disk" };
    let switch = match backend {
        "efi_pstore" | "efi" => "boot with efi_pstore.pstore_disable=1",
        "erst" => "boot with erst_disable",
        "ramoops" => "unload ramoops, or boot without its parameters",
        _ => "unload that module, or boot without its parameters",
    };
    let hint = if is_taken_over {
        format!("{switch}; at the next boot vmcore-encrypt-pstore.service takes it over, encrypted")
    } else {
        format!(
            "{switch}; or systemctl enable vmcore-encrypt-pstore.service, which saves it encrypted at the next boot"
        )
    };
    if early || console || !oops_panics {
        findings.warning(CHECK, text, &hint);
    } else {
        findings.ok(CHECK, text);
    }
}

/// Source: Linux `drivers/hv/hv_common.c`; `Documentation/admin-guide/sysctl/kernel.rst`.
fn check_hypervisor(machine: &Machine, early: bool, findings: &mut Findings) {
    if early && machine.number("/proc/sys/kernel/hyperv_record_panic_msg") == Some(1) {
        findings.warning(
            CHECK,
            "Hyper-V gets the last page of the kernel log in plain at every panic",
            "sysctl kernel.hyperv_record_panic_msg=0",
        );
    }
}

/// Source: Linux `Documentation/admin-guide/kernel-parameters.txt`, `panic_print`, and since v6.17 `panic_sys_info`,
/// `panic_console_replay`.
fn check_panic_print(machine: &Machine, early: bool, findings: &mut Findings) {
    let bits = machine.read(format!("{PARAMETERS}/panic_print")).unwrap_or_default();
    let prints = !matches!(bits.trim(), "" | "0" | "0x0")
        || is_yes(machine, &format!("{PARAMETERS}/panic_console_replay"));
    if prints && early {
        findings.warning(
            CHECK,
            "panic_print prints tasks, memory or the whole log to the consoles at every panic, before the capture \
             kernel starts",
            "sysctl kernel.panic_print=0, and boot without panic_print, panic_sys_info and panic_console_replay",
        );
    }
}

/// Consoles that leave the machine: serial lines, hypervisor consoles. A screen does not.
/// Source: Linux `Documentation/admin-guide/serial-console.rst`; `fs/proc/consoles.c`.
fn check_consoles(machine: &Machine, findings: &mut Findings) {
    let text = machine.read("/proc/consoles").unwrap_or_default();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    let leaving: Vec<&str> = names
        .filter(|name| !is_screen(name) && !name.starts_with("netcon") && !name.starts_with("pstore"))
        .collect();
    if !leaving.is_empty() {
        findings.warning(
            CHECK,
            format!("serial console {} gets every line of the kernel log in plain", leaving.join(", ")),
            "boot without console= for it, or with a lower loglevel=; whoever records it can read the panic",
        );
    }
}

/// `tty0` and its like; `ttyS0`, `hvc0` and others are lines.
fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Source: Linux `Documentation/networking/netconsole.rst`.
fn check_netconsole(machine: &Machine, findings: &mut Findings) {
    let consoles = machine.read("/proc/consoles").unwrap_or_default();
    let targets = fs::read_dir(machine.path("/sys/kernel/config/netconsole")).into_iter().flatten().flatten();
    let is_on = |name: std::ffi::OsString| {
        let file = format!("/sys/kernel/config/netconsole/{}/enabled", name.to_string_lossy());
        machine.number(file) == Some(1)
    };
    let is_listed = consoles.lines().any(|line| line.starts_with("netcon"));
    if is_listed || targets.map(|entry| entry.file_name()).any(is_on) {
        findings.warning(
            CHECK,
            "netconsole sends every line of the kernel log over the network in plain",
            "unload netconsole; vmcore-encrypt kmsg sends the log encrypted",
        );
    }
}

fn is_yes(machine: &Machine, path: &str) -> bool {
    machine.read(path).is_ok_and(|text| matches!(text.trim(), "Y" | "y" | "1"))
}
