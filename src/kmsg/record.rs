//! A record as the kernel prints it to readers of `/dev/kmsg`: `PRIORITY,NUMBER,MICROSECONDS,FLAGS[,KEY=VALUE];TEXT`,
//! then lines ` KEY=VALUE` of a dictionary. Bytes outside printable ASCII, and backslashes, are `\xNN`.
//! Source: Linux `Documentation/ABI/testing/dev-kmsg`, `kernel/printk/printk.c` (`info_print_ext_header`).

/// Bytes of the longest head taken, with its `;`: five numbers and words are about 60, and there is room for more
/// fields, which the kernel may add.
pub(super) const MAX_HEAD: usize = 160;
/// Bytes of the longest text taken, escaped. The kernel's own limit is 8192 (`CONSOLE_EXT_LOG_MAX`) or below.
pub(super) const MAX_RECORD: usize = 16 * 1024;

/// Splits a record into head, with its `;`, and the rest without the last line feed, escaped as the kernel
/// does; the number in the head comes first. `None` when it is no record.
pub(super) fn split(record: &[u8]) -> Option<(u64, String, String)> {
    let at = record.iter().position(|&byte| byte == b';').filter(|&at| at < MAX_HEAD)?;
    let head = std::str::from_utf8(&record[..=at]).ok()?;
    let number = parse_head(head)?.number;
    let text = escape(record[at + 1..].strip_suffix(b"\n").unwrap_or(&record[at + 1..]));
    let printable = head.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (printable && text.len() <= MAX_RECORD).then(|| (number, head.to_owned(), text))
}

/// The text in printable ASCII and line feeds. What the kernel has escaped stays as it is.
fn escape(text: &[u8]) -> String {
    text.iter().fold(String::with_capacity(text.len()), |mut out, &byte| {
        match byte {
            b' '..=b'~' | b'\n' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
        out
    })
}

/// The numbers of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Number of the record since boot.
    pub number: u64,
    /// Time since boot in microseconds.
    pub micros: u64,
    /// Task id, or CPU number with bit 31 set, where the kernel records it.
    pub caller: Option<u32>,
}

/// Reads a head; `None` when its numbers are invalid.
pub(super) fn parse_head(head: &str) -> Option<Head> {
    let mut fields = head.strip_suffix(';')?.split(',');
    let _priority: u64 = fields.next()?.parse().ok()?;
    let (number, micros) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let caller = fields.find_map(|field| field.strip_prefix("caller=")).and_then(parse_caller);
    Some(Head { number, micros, caller })
}

/// `T42` is task 42, `C7` is CPU 7. Source: Linux `kernel/printk/printk.c`, `info_print_ext_header`.
fn parse_caller(text: &str) -> Option<u32> {
    let (kind, id) = text.split_at_checked(1)?;
    let id: u32 = id.parse().ok()?;
    match kind {
        "T" => Some(id),
        "C" => Some(id | 0x8000_0000),
        _ => None,
    }
}

/// Whether this can be the text of a record: whatever follows a line feed begins with a space, as a dictionary does.
pub(super) fn is_text(text: &str) -> bool {
    text.split('\n').skip(1).all(|line| line.starts_with(' '))
}

/// The message in the bytes it was logged with: without the dictionary, `\xNN` undone.
pub(super) fn message(text: &str) -> Vec<u8> {
    let mut rest = text.lines().next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(at) = rest.find("\\x") {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 2..at + 4).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        // Without a code it is what was logged, by a kernel that does not escape.
        bytes.push(code.unwrap_or(b'\\'));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_split_at_its_semicolon() {
        let (number, head, text) = split(b"6,339,5140900,-,caller=T1;a;b\xe9\n SUBSYSTEM=acpi\n").unwrap();
        assert_eq!((number, head.as_str()), (339, "6,339,5140900,-,caller=T1;"));
        assert_eq!(text, "a;b\\xe9\n SUBSYSTEM=acpi");
        assert_eq!(parse_head(&head), Some(Head { number: 339, micros: 5_140_900, caller: Some(1) }));
        assert_eq!(parse_head("6,1,2,-,caller=C3;").unwrap().caller, Some(0x8000_0003));
        for bad in ["", "text", "6,1;x", "a,1,2,-;x", "6,,2,-;x", &format!("6,1,2,{};", "-".repeat(MAX_HEAD))]
        {
            assert_eq!(split(bad.as_bytes()), None, "{bad}");
        }
        let long = |length, byte| [b"6,1,2,-;".to_vec(), vec![byte; length]].concat();
        assert!(split(&long(MAX_RECORD, b'x')).is_some() && split(&long(MAX_RECORD + 1, b'x')).is_none());
        assert!(split(&long(MAX_RECORD / 4 + 1, 0x80)).is_none());
    }

    #[test]
    fn a_message_is_what_was_logged() {
        assert_eq!(message("a\\x09b\\x5cx\\x0ac\n DEVICE=x"), b"a\tb\\x\nc");
        assert_eq!(message("\\x\\xg0\\x4"), b"\\x\\xg0\\x4");
        assert_eq!(message(""), b"");
    }
}
