//! The kernel's description of itself in the forms that other programs read: symbols as in `/proc/kallsyms`, types as in
//! `/sys/kernel/btf`.
//!
//! Source: Linux `kernel/kallsyms.c` (`s_show`), `kernel/bpf/sysfs_btf.c`.

use super::kallsyms::Symbol;
use super::{Kernel, Module};
use std::collections::HashSet;

/// The most bytes of the types of all modules: ten times those of a distribution's kernel with all modules loaded.
const MAX_TYPES: usize = 128 << 20;
/// The longest name of a module. Source: Linux `include/linux/moduleparam.h`, `MAX_PARAM_PREFIX_LEN`.
const MAX_NAME: usize = 56;

/// What a kernel tells of itself, as contents of files.
#[derive(Debug, Default)]
pub struct Description {
    /// Symbols, one a line, those of modules with the module's name. As root sees them in `/proc/kallsyms`, other than the
    /// letters of a module's symbols: capital ones are global, there exported. Empty without a symbol table.
    pub symbols: Vec<u8>,
    /// vmlinux's types, raw BTF. Empty where there are none.
    pub types: Vec<u8>,
    /// Types of modules by name, raw BTF split from vmlinux's.
    pub modules: Vec<(String, Vec<u8>)>,
    /// What cannot be read, a line each.
    pub missing: Vec<String>,
}

impl Description {
    /// Reads all of it.
    #[must_use]
    pub fn of(kernel: &Kernel<'_>) -> Description {
        let mut description = Description { missing: kernel.missing(), ..Description::default() };
        if let Ok(symbols) = kernel.symbols() {
            symbols.iter().for_each(|symbol| line(&mut description.symbols, symbol, None));
        }
        let Ok(types) = kernel.types() else { return description };
        description.types = types.bytes().to_vec();
        let (modules, damaged) = kernel.modules();
        description.missing.extend(damaged.map(|error| format!("not all modules: {}", error.line())));
        let (mut names, mut left) = (HashSet::new(), MAX_TYPES);
        for module in modules {
            match file_name(&module.name).filter(|name| names.insert(name.clone())) {
                Some(name) => description.add(kernel, module, name, &mut left),
                None => description.missing.push("a module without a name of its own".to_owned()),
            }
        }
        description
    }

    fn add(&mut self, kernel: &Kernel<'_>, module: &Module, name: String, left: &mut usize) {
        match kernel.module_symbols(module) {
            Ok(symbols) => symbols.iter().for_each(|symbol| line(&mut self.symbols, symbol, Some(&name))),
            Err(error) => self.missing.push(format!("symbols of module {name}: {}", error.line())),
        }
        match kernel.module_types(module) {
            Ok(types) if types.bytes().len() <= *left => {
                *left -= types.bytes().len();
                self.modules.push((name, types.bytes().to_vec()));
            }
            Ok(_) => self.missing.push(format!("types of module {name}: more than any kernel has")),
            Err(error) => self.missing.push(format!("types of module {name}: {}", error.line())),
        }
    }
}

/// A module's name, where it can be a file's: the dump may hold anything.
fn file_name(name: &[u8]) -> Option<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let plain = !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(is_plain);
    plain.then(|| String::from_utf8_lossy(name).into_owned())
}

/// `ffffffff81000000 T _stext`, of a module with a tab and `[module]` after it. What a kernel has in no name is a question
/// mark, so that no name makes a line of its own.
fn line(text: &mut Vec<u8>, symbol: Symbol<'_>, module: Option<&str>) {
    let plain = |byte: u8| if byte.is_ascii_graphic() { byte } else { b'?' };
    text.extend_from_slice(
        format!("{:016x} {} ", symbol.address.0, char::from(plain(symbol.kind))).as_bytes(),
    );
    text.extend(symbol.name.iter().copied().map(plain));
    text.extend(module.into_iter().flat_map(|name| [b"\t[", name.as_bytes(), b"]"].concat()));
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::VirtAddr;

    fn shown(kind: u8, name: &[u8], module: Option<&str>) -> String {
        let mut text = Vec::new();
        line(&mut text, Symbol { name, kind, address: VirtAddr(0xff) }, module);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_are_those_of_proc_kallsyms() {
        assert_eq!(shown(b'T', b"_stext", None), "00000000000000ff T _stext\n");
        assert_eq!(shown(b'd', b"state", Some("dm_mod")), "00000000000000ff d state\t[dm_mod]\n");
    }

    #[test]
    fn no_name_makes_a_line_or_a_file_of_its_own() {
        assert_eq!(shown(b'\n', b"a\n00 T b\x1b[2J\xff", None), "00000000000000ff ? a?00?T?b?[2J?\n");
        assert_eq!(file_name(b"nf_tables-x").as_deref(), Some("nf_tables-x"));
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", b"\xff", &[b'a'; 57]] {
            assert_eq!(file_name(bad), None);
        }
    }
}
