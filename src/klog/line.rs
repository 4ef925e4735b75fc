//! One message as a line of text: `[    1.234567] [    T42] text`. The text of a crashed machine is data:
//! bytes that a terminal could take for a command, carriage returns among them, are shown as `\xNN`.

use super::Message;
use crate::text::write_shown;
use std::io::{self, Write};

/// Bit of a caller's id that means "CPU" instead of "task".
/// Source: Linux `kernel/printk/printk.c`, `printk_caller_id`.
const CALLER_IS_CPU: u32 = 0x8000_0000;

/// Writes a message and a newline. A newline inside the text is followed by as many spaces as the prefix
/// has characters; other bytes are filtered by [`write_shown`].
pub(crate) fn write(message: &Message<'_>, out: &mut dyn Write) -> io::Result<()> {
    let prefix = prefix(message);
    let mut line = Vec::with_capacity(prefix.len() + message.text.len() + 1);
    line.extend(prefix.as_bytes());
    for (at, part) in message.text.split(|&byte| byte == b'\n').enumerate() {
        if at > 0 {
            line.push(b'\n');
            line.resize(line.len() + prefix.len(), b' ');
        }
        write_shown(part, &mut line)?;
    }
    line.push(b'\n');
    out.write_all(&line)
}

fn prefix(message: &Message<'_>) -> String {
    let micros = message.nanos / 1000;
    let time = format!("[{:5}.{:06}] ", micros / 1_000_000, micros % 1_000_000);
    message.caller.map_or_else(|| time.clone(), |id| format!("{time}[{:>8}] ", caller(id)))
}

fn caller(id: u32) -> String {
    let kind = if id & CALLER_IS_CPU == 0 { 'T' } else { 'C' };
    format!("{kind}{}", id & !CALLER_IS_CPU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nanos: u64, caller: Option<u32>, text: &[u8]) -> String {
        let mut out = Vec::new();
        write(&Message { nanos, caller, at: None, text }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn time_and_caller_are_padded() {
        assert_eq!(line(0, None, b"Linux version"), "[    0.000000] Linux version\n");
        assert_eq!(line(1_234_567_899, Some(42), b"x"), "[    1.234567] [     T42] x\n");
        let late = line(u64::MAX, Some(CALLER_IS_CPU | 7), b"");
        assert_eq!(late, "[18446744073.709551] [      C7] \n");
    }

    #[test]
    fn lines_behind_the_first_are_indented() {
        assert_eq!(line(0, None, b"a\nb\n"), format!("[    0.000000] a\n{0}b\n{0}\n", " ".repeat(15)));
    }

    #[test]
    fn bytes_that_could_command_a_terminal_are_shown() {
        assert_eq!(line(0, None, b"\x1b[2J\xc3\t~\x7f"), "[    0.000000] \\x1b[2J\\xc3\t~\\x7f\n");
        assert_eq!(line(0, None, b"a\rb\x0c"), "[    0.000000] a\\x0db\\x0c\n");
    }
}
