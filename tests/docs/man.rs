//! Manual pages, from the commands' own definitions and the sections below. Examples are neither filled nor
//! hyphenated, so that what is copied from them works.

use clap::{Arg, Command};
use std::fmt::Write as _;

/// Files of the collector.
const ENCRYPT_FILES: &[(&str, &str)] = &[
    ("/etc/vmcore-encrypt/recipients", "Who can open the dumps of this machine, one recipient a line."),
    ("/etc/vmcore-encrypt/config", "Settings of the scripts that save a dump."),
    ("/proc/vmcore", "The memory of the crashed kernel, in the capture kernel."),
];
/// Files of the analyst's program.
const DECRYPT_FILES: &[(&str, &str)] = &[
    (
        "~/.config/vmcore-decrypt/identities",
        "The identity file where no option -i is given; below $XDG_CONFIG_HOME where that is set.",
    ),
    (
        "~/.cache/vmcore-decrypt/tables",
        "Symbols, types and unwind tables of kernels, for reports; below $XDG_CACHE_HOME where that is set.",
    ),
];
/// What both programs take from the environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("NO_COLOR", "Has no effect: nothing is coloured."),
    ("TERM", "A terminal that is dumb, or has no name, gets lines of progress in place of a bar."),
    ("PATH", "Where programs of age plugins (age-plugin-NAME) are found."),
];
/// What the analyst's program takes from the environment.
const DECRYPT_ENVIRONMENT: &[(&str, &str)] = &[
    ("VMCORE_DECRYPT_IDENTITY", "The identity file where no option -i is given."),
    ("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN", "The account for s3:// URLs."),
    (
        "AWS_PROFILE",
        "The profile of ~/.aws/config and ~/.aws/credentials that has what the environment lacks.",
    ),
    ("AWS_REGION, AWS_ENDPOINT_URL", "Where the bucket is: Amazon's region, or another server's URL."),
    ("AWS_ALLOW_HTTP", "true: that server may be asked without TLS."),
    ("AWS_SKIP_SIGNATURE", "true: the bucket is public."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates of the authorities that servers are trusted by."),
    ("HTTPS_PROXY, NO_PROXY", "The proxy for servers, and servers without one."),
];

/// Escapes text for roff.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti");
    let lines =
        text.lines().map(|line| if line.starts_with('.') { format!("\\&{line}") } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\n")
}

/// One page: of a program, or of one of its sub-commands.
pub(crate) struct Page<'a> {
    /// The program.
    pub program: &'a Command,
    /// The sub-command that the page is for.
    pub sub: Option<&'a Command>,
    /// Names of all pages.
    pub pages: &'a [String],
}

impl Page<'_> {
    fn command(&self) -> &Command {
        self.sub.unwrap_or(self.program)
    }

    /// `vmcore-decrypt-info`.
    pub(crate) fn name(&self) -> String {
        match self.sub {
            Some(sub) => format!("{}-{}", self.program.get_name(), sub.get_name()),
            None => self.program.get_name().to_owned(),
        }
    }

    pub(crate) fn render(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let about = self.command().get_about().map(ToString::to_string).unwrap_or_default();
        let name = self.name();
        let mut text = format!(
            ".\\\" Made from the command line's definitions by tests/docs.rs.\n.TH {} 1 \"\" \"vmcore-encrypt {version}\" \"\"\n.nh\n.ad l\n.SH NAME\n{} \\- {}\n",
            name.to_uppercase(),
            roff(&name),
            roff(&about)
        );
        self.synopsis(&mut text);
        let long = self.command().get_long_about().map(ToString::to_string);
        let _ = write!(text, ".SH DESCRIPTION\n{}.\n", roff(&long.unwrap_or(about)).trim_end_matches('.'));
        for paragraph in self.after_help().1 {
            let _ = write!(text, ".PP\n{}\n", roff(&paragraph));
        }
        self.sub_commands(&mut text);
        self.options(&mut text);
        self.exit_status(&mut text);
        self.tables(&mut text);
        self.examples(&mut text);
        self.see_also(&mut text);
        text
    }

    fn synopsis(&self, text: &mut String) {
        let usage = self
            .command()
            .clone()
            .bin_name(self.name().replacen(
                &format!("{}-", self.program.get_name()),
                &format!("{} ", self.program.get_name()),
                usize::from(self.sub.is_some()),
            ))
            .render_usage()
            .to_string();
        text.push_str(".SH SYNOPSIS\n.nf\n");
        for line in usage.lines().map(|line| line.trim().trim_start_matches("Usage: ")) {
            let _ = writeln!(text, "{}", roff(line));
        }
        text.push_str(".fi\n");
    }

    /// Examples, other paragraphs, and the statuses, of what `--help` ends with.
    fn after_help(&self) -> (Vec<String>, Vec<String>, String) {
        let help = self.command().get_after_help().map(ToString::to_string).unwrap_or_default();
        let (help, statuses) = help.split_once("Exit status: ").unwrap_or((&help, ""));
        let mut paragraphs = help.split("\n\n");
        let examples = paragraphs.next().unwrap_or_default().trim_start_matches("Examples:\n");
        let examples = examples.lines().map(|line| line.trim().to_owned()).collect();
        let others = paragraphs.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
        (examples, others, statuses.trim_end_matches('.').to_owned())
    }

    fn sub_commands(&self, text: &mut String) {
        if self.sub.is_some() {
            return;
        }
        text.push_str(".SH COMMANDS\n");
        for sub in self.program.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let page = format!("{}-{}", self.program.get_name(), sub.get_name());
            let _ = write!(text, ".TP\n.BR {} (1)\n{}\n", roff(&page), roff(&about));
        }
    }

    fn options(&self, text: &mut String) {
        let shown: Vec<&Arg> =
            self.command().get_arguments().filter(|argument| !argument.is_hide_set()).collect();
        let (words, options): (Vec<&Arg>, Vec<&Arg>) =
            shown.into_iter().partition(|argument| argument.is_positional());
        if !words.is_empty() {
            text.push_str(".SH ARGUMENTS\n");
        }
        words.iter().for_each(|word| argument(text, word));
        text.push_str(".SH OPTIONS\n");
        let mut headings: Vec<Option<&str>> = Vec::new();
        for heading in options.iter().map(|option| option.get_help_heading()) {
            // Options of one heading may be apart, as where a group of them is flattened in.
            if !headings.contains(&heading) {
                headings.push(heading);
            }
        }
        headings.sort_by_key(|heading| heading.is_some());
        for heading in headings {
            if let Some(heading) = heading {
                let _ = writeln!(text, ".SS {}", roff(heading));
            }
            options
                .iter()
                .filter(|option| option.get_help_heading() == heading)
                .for_each(|option| argument(text, option));
        }
    }

    fn exit_status(&self, text: &mut String) {
        text.push_str(".SH EXIT STATUS\n");
        let (_, _, statuses) = self.after_help();
        let statuses = statuses.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = Vec::new();
        for part in statuses.split(", ") {
            match rows.last_mut() {
                Some(last) if !part.starts_with(|first: char| first.is_ascii_digit()) => {
                    last.push_str(", ");
                    last.push_str(part);
                }
                _ => rows.push(part.to_owned()),
            }
        }
        for (number, meaning) in rows.iter().filter_map(|row| row.split_once(' ')) {
            let _ = write!(text, ".TP\n{number}\n{}\n", roff(meaning));
        }
    }

    fn tables(&self, text: &mut String) {
        let is_encrypt = self.program.get_name() == "vmcore-encrypt";
        let own: &[(&str, &str)] = if is_encrypt { &[] } else { DECRYPT_ENVIRONMENT };
        let files = if is_encrypt { ENCRYPT_FILES } else { DECRYPT_FILES };
        let environment: Vec<_> = own.iter().chain(ENVIRONMENT).copied().collect();
        for (heading, rows) in [("FILES", files), ("ENVIRONMENT", &environment)] {
            let _ = writeln!(text, ".SH {heading}");
            for (name, what) in rows {
                let _ = write!(text, ".TP\n.B {}\n{}\n", roff(name), roff(what));
            }
        }
    }

    fn examples(&self, text: &mut String) {
        text.push_str(".SH EXAMPLES\n.nf\n");
        for example in self.after_help().0 {
            let _ = writeln!(text, "{}", roff(&example));
        }
        text.push_str(".fi\n");
    }

    fn see_also(&self, text: &mut String) {
        let programs = ["vmcore-decrypt", "vmcore-encrypt"];
        let name = self.name();
        let related = self.pages.iter().filter(|page| {
            **page != name && (programs.contains(&page.as_str()) || page.starts_with(&format!("{name}-")))
        });
        let all: Vec<String> = related.map(|page| format!("\\fB{}\\fR(1)", roff(page))).collect();
        let _ = write!(text, ".SH SEE ALSO\n{}\n", all.join(",\n"));
    }
}

/// One option or word with its help.
fn argument(text: &mut String, argument: &Arg) {
    let values: Vec<String> = match argument.get_value_names() {
        Some(names) if argument.get_action().takes_values() => {
            names.iter().map(ToString::to_string).collect()
        }
        _ => Vec::new(),
    };
    let values = values.iter().map(|name| format!("\\fI{}\\fR", roff(name))).collect::<Vec<_>>().join(" ");
    let short = argument.get_short().map(|letter| format!("\\fB\\-{letter}\\fR"));
    let long = argument.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", roff(long)));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    let help = argument.get_help().or(argument.get_long_help()).map(ToString::to_string).unwrap_or_default();
    let values = match argument.get_num_args() {
        _ if values.is_empty() => values,
        // It may stand without a value, which then must not be the next word.
        Some(range) if range.min_values() == 0 && argument.is_require_equals_set() => format!("[={values}]"),
        _ => format!(" {values}"),
    };
    let _ = write!(text, ".TP\n{}\n{}\n", format!("{names}{values}").trim(), roff(&help));
    let choices = argument.get_possible_values();
    for choice in choices.iter().filter(|choice| choice.get_help().is_some()) {
        let what = choice.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, ".br\n\\fB{}\\fR: {}\n", roff(choice.get_name()), roff(&what));
    }
    let default: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !default.is_empty() && argument.get_action().takes_values() && !argument.is_hide_default_value_set() {
        let _ = write!(text, ".br\nDefault: {}\n", roff(&default.join(" ")));
    }
}
