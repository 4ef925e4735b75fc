//! Sizes as they are typed and shown: bytes with a suffix in powers of 1024.

/// Reads a size: digits and perhaps one of K M G T P E, as makedumpfile's `-L` has it. Zero is refused.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return Err("the suffix must be one of K M G T P E".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "not a size in bytes, such as 500M".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("a size of 0 holds nothing".into()),
        Some(bytes) => Ok(bytes),
        None => Err("more than 16 EiB".into()),
    }
}

/// Shows a size with three digits, as `31.2 MiB`.
pub(crate) fn show(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let step = (bytes.max(1).ilog2() / 10) as usize;
    if step == 0 {
        return format!("{bytes} bytes");
    }
    let scaled = bytes as f64 / (1u64 << (10 * step)) as f64;
    let digits = if scaled < 10.0 { 2 } else { usize::from(scaled < 100.0) };
    format!("{scaled:.digits$} {}", units[step])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!(parse("1"), Ok(1));
        assert_eq!(parse("500M"), Ok(500 << 20));
        assert_eq!(parse("15e"), Ok(15 << 60));
        for bad in ["", "0", "0K", "M", "-1", "1.5G", "1KB", "16E", "99999999999999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_show_three_digits() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.00 KiB"), (32_715_571, "31.2 MiB")]
        {
            assert_eq!(show(bytes), text);
        }
        assert_eq!(show(u64::MAX), "16.0 EiB");
    }
}
