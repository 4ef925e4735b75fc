//! No kdump scripts: our own `save` in an image of `vmcore-encrypt-mkinitrd`.

use super::super::collector::Plan;
use super::super::config::{Config, PATH, Target};
use super::super::findings::Findings;
use super::super::words::{Output, judge_own};
use super::{CHECK, Scripts, View};

pub(super) struct Own;

impl Scripts for Own {
    fn configuration(&self) -> &'static str {
        ""
    }

    fn rule(&self, view: &View<'_>, _plan: &mut Plan, findings: &mut Findings) {
        match view.config.target() {
            Target::Kdump => findings.problem(
                CHECK,
                format!("no kdump scripts are here, and TARGET=kdump of {PATH} relies on them"),
                "install kdump, or set TARGET=file, raw or store and build an image with vmcore-encrypt-mkinitrd",
            ),
            _ => judge_own(view, CHECK, output(view.config), findings),
        }
    }

    fn look(&self, view: &View<'_>, _plan: &Plan, findings: &mut Findings) {
        if view.config.target() != Target::Kdump {
            findings.ok(CHECK, "our own script saves, from an image of its own");
        }
        check_loader(view, findings);
    }

    fn fadump(&self, _view: &View<'_>, findings: &mut Findings) {
        let text =
            "FADump is on: after a crash the firmware starts the ordinary initramfs, and no dump is saved";
        findings.problem(CHECK, text, "boot with fadump=off and load a capture kernel with kexec");
    }
}

/// Whether something loads the capture kernel at the next boot.
fn check_loader(view: &View<'_>, findings: &mut Findings) {
    if view.machine.is_enabled("vmcore-encrypt-load.service", "multi-user.target") {
        findings.ok(CHECK, "vmcore-encrypt-load.service loads the capture kernel at each boot");
    } else {
        findings.warning(
            CHECK,
            "vmcore-encrypt-load.service is not enabled: nothing known loads a capture kernel at the next boot",
            "systemctl enable --now vmcore-encrypt-load.service",
        );
    }
}

/// Where our scripts let the collector write.
pub(super) fn output(config: &Config) -> Output {
    match config.target() {
        Target::Raw => Output::Stdout,
        Target::File | Target::Kdump => Output::File,
        // The words name URLs made beforehand.
        Target::Store if config.get("URL").is_empty() => Output::Stdout,
        Target::Store => Output::Store,
    }
}
