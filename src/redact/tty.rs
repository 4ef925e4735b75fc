//! Text of terminals: what was typed and not read yet, what waits to be shown, what is on the screens.
//!
//! A terminal is in its driver's table, belongs to a session, or is open in a task; pseudo terminals are in no table.
//! Source: Linux `include/linux/tty.h`, `tty_driver.h`, `tty_buffer.h`, `drivers/tty/n_tty.c` (`struct n_tty_data`),
//! `drivers/tty/vt/vt.c` (`vc_cons`).

use super::walk::Walk;
use crate::kernel::{Error, Object};
use crate::units::VirtAddr;
use std::collections::BTreeSet;

/// The most drivers, lines of a driver, buffers of a line, and files of a task.
const MAX_DRIVERS: u64 = 4096;
const MAX_LINES: u64 = 1 << 20;
const MAX_BUFFERS: u64 = 1 << 16;
const MAX_FILES: u64 = 1 << 20;
/// The largest buffer of a line. Source: Linux `drivers/tty/tty_buffer.c`, which limits a line to 640 KiB.
const MAX_BUFFER: u64 = 640 << 10;
/// `MAX_NR_CONSOLES`, Linux `include/uapi/linux/vt.h`.
const CONSOLES: u64 = 63;
/// Line disciplines of a terminal for people, and of none. Source: Linux `include/uapi/linux/tty.h`.
const N_TTY: u64 = 0;
const N_NULL: u64 = 27;

/// Finds it.
pub(super) fn find(walk: &Walk<'_>) -> Result<(), Error> {
    let mut lines = BTreeSet::new();
    of_drivers(walk, &mut lines)?;
    of_tasks(walk, &mut lines)?;
    // A pseudo terminal has two ends.
    let ends: Vec<u64> = lines.iter().copied().filter(|&line| line != 0).collect();
    for line in ends {
        lines.insert(walk.kernel().object("tty_struct", VirtAddr(line))?.uint("link")?);
    }
    lines.remove(&0);
    lines.iter().try_for_each(|&line| terminal(walk, VirtAddr(line)))?;
    screens(walk)
}

/// The lines in the tables of drivers.
fn of_drivers(walk: &Walk<'_>, lines: &mut BTreeSet<u64>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let drivers = kernel.linked("tty_driver", "tty_drivers")?;
    for driver in drivers.on(kernel.symbol("tty_drivers")?, MAX_DRIVERS, "list of terminals' drivers") {
        let driver = driver?;
        let (count, table) = (driver.uint("num")?, VirtAddr(driver.uint("ttys")?));
        if count > MAX_LINES {
            return Err(Error::Absurd { what: "number of a driver's terminals", value: count });
        }
        for nth in 0..if table.0 == 0 { 0 } else { count } {
            lines.insert(walk.pointer(table, nth, "a driver's terminals")?.0);
        }
    }
    Ok(())
}

/// The terminals of sessions, and those that tasks have open.
fn of_tasks(walk: &Walk<'_>, lines: &mut BTreeSet<u64>) -> Result<(), Error> {
    let kernel = walk.kernel();
    let mut seen = BTreeSet::new();
    let operations = ["tty_fops", "console_fops", "hung_up_tty_fops"];
    let operations: Vec<u64> = operations
        .iter()
        .flat_map(|name| kernel.symbols().ok().map(|all| all.all(name)))
        .flatten()
        .map(|symbol| symbol.address.0)
        .collect();
    if operations.is_empty() {
        return Err(Error::NoSymbol("tty_fops".into()));
    }
    for task in kernel.tasks() {
        let task = task?;
        if let Some(signal) = task.follow("signal")? {
            lines.insert(signal.uint("tty")?);
        }
        if let Some(files) = task.follow("files")?
            && seen.insert(files.address().0)
        {
            of_files(walk, &files, &operations, lines)?;
        }
    }
    Ok(())
}

fn of_files(
    walk: &Walk<'_>,
    files: &Object<'_>,
    operations: &[u64],
    lines: &mut BTreeSet<u64>,
) -> Result<(), Error> {
    let kernel = walk.kernel();
    let table = kernel.object("fdtable", VirtAddr(files.uint("fdt")?))?;
    let (count, array) = (table.uint("max_fds")?, VirtAddr(table.uint("fd")?));
    if count > MAX_FILES {
        return Err(Error::Absurd { what: "number of open files", value: count });
    }
    for nth in 0..count {
        let file = walk.pointer(array, nth, "open files")?;
        if file.0 == 0 {
            continue;
        }
        let file = kernel.object("file", file)?;
        if operations.contains(&file.uint("f_op")?) {
            let private = file.uint("private_data")?;
            if private != 0 {
                lines.insert(kernel.object("tty_file_private", VirtAddr(private))?.uint("tty")?);
            }
        }
    }
    Ok(())
}

fn terminal(walk: &Walk<'_>, at: VirtAddr) -> Result<(), Error> {
    let kernel = walk.kernel();
    let line = kernel.object("tty_struct", at)?;
    if line.has("write_cnt") && line.has("write_buf") {
        let len = line.uint("write_cnt")?.cast_signed().max(0).cast_unsigned();
        walk.erase_target(&line, "write_buf", len & 0xffff_ffff, "tty_struct.write_buf")?;
    }
    if let Some(port) = line.follow("port")? {
        buffers(walk, &kernel.object("tty_port", port.address())?)?;
    }
    let Some(discipline) = line.follow("ldisc")? else { return Ok(()) };
    let operations = VirtAddr(kernel.object("tty_ldisc", discipline.address())?.uint("ops")?);
    let number = kernel.object("tty_ldisc_ops", operations)?.uint("num")?;
    let data = line.uint("disc_data")?;
    match number & 0xffff_ffff {
        N_NULL => Ok(()),
        N_TTY if data == 0 => Ok(()),
        N_TTY => {
            let data = kernel.object("n_tty_data", VirtAddr(data))?;
            walk.erase_member(&data, "read_buf", "n_tty_data.read_buf")?;
            walk.erase_member(&data, "echo_buf", "n_tty_data.echo_buf")
        }
        number => Err(Error::Unknown(format!("the data of line discipline {number} is not known"))),
    }
}

/// The buffers between a driver and a line discipline: those in use, one after the other, and those kept for reuse.
fn buffers(walk: &Walk<'_>, port: &Object<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    if port.has("xmit_buf") {
        walk.erase_target(port, "xmit_buf", walk.page().bytes(), "tty_port.xmit_buf")?;
    }
    let data = kernel.offset_of("tty_buffer", "data")?;
    let link = kernel.offset_of("tty_buffer", "free")?;
    let next = kernel.offset_of("tty_buffer", "next")?;
    for (first, link) in [(port.uint("buf.head")?, next), (port.uint("buf.free.first")?, link)] {
        // Nodes of the list of free ones are members, not the buffers themselves.
        let back = if link == next { 0 } else { link };
        let (mut node, mut count) = (first, 0);
        while node != 0 {
            let at = VirtAddr(node.wrapping_sub(back));
            let size = kernel.object("tty_buffer", at)?.uint("size")?;
            count += 1;
            if size > MAX_BUFFER || count > MAX_BUFFERS {
                return Err(Error::Absurd { what: "a terminal's buffer", value: size });
            }
            walk.erase(at.wrapping_add(data), size, "tty_buffer.data")?;
            node = kernel.u64(at.wrapping_add(link), "a terminal's buffers")?;
        }
    }
    Ok(())
}

/// What the consoles show.
fn screens(walk: &Walk<'_>) -> Result<(), Error> {
    let kernel = walk.kernel();
    // A kernel without them has no consoles.
    let Ok(consoles) = kernel.symbol("vc_cons") else { return Ok(()) };
    let size = kernel.size_of("vc")?;
    for nth in 0..CONSOLES {
        let Some(console) = kernel.object("vc", consoles.wrapping_add(nth * size))?.follow("d")? else {
            continue;
        };
        let console = kernel.object("vc_data", console.address())?;
        let len = console.uint("vc_screenbuf_size")?;
        walk.erase_target(&console, "vc_screenbuf", len, "vc_data.vc_screenbuf")?;
    }
    Ok(())
}
