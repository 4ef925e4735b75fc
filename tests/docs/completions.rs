//! Completions for bash, zsh and fish, from the commands' own definitions. Each script first finds the sub-command:
//! the first word that is neither an option nor an option's value, since options may stand before it. What is hidden or
//! refused is not offered, and a value is completed as its option takes it: a word of a list, a file, a directory.

use clap::{Arg, Command, ValueHint};
use std::fmt::Write as _;

/// A program as a completion script knows it.
struct Program {
    name: String,
    /// Without a sub-command first, then each by its name.
    commands: Vec<(String, Command)>,
    /// The sub-command that is meant where another word comes first, or a name for the program without one.
    default: &'static str,
}

/// What an option takes.
enum Value {
    Nothing,
    OneOf(Vec<String>),
    File,
    Directory,
    Other,
}

fn value(argument: &Arg) -> Value {
    if !argument.get_action().takes_values() {
        return Value::Nothing;
    }
    let names: Vec<String> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    match argument.get_value_hint() {
        _ if !names.is_empty() => Value::OneOf(names),
        ValueHint::DirPath => Value::Directory,
        ValueHint::AnyPath | ValueHint::FilePath => Value::File,
        _ => Value::Other,
    }
}

fn options(command: &Command) -> Vec<&Arg> {
    command.get_opts().chain(flags(command)).filter(|argument| !argument.is_hide_set()).collect()
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_flag = |argument: &&Arg| !argument.is_positional() && !argument.get_action().takes_values();
    command.get_arguments().filter(is_flag)
}

/// How an option is typed: `-i`, `--identity`.
fn names(argument: &Arg) -> Vec<String> {
    let short = argument.get_short().map(|letter| format!("-{letter}"));
    short.into_iter().chain(argument.get_long().map(|long| format!("--{long}"))).collect()
}

fn help(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().replace(['\'', '`', '[', ']', ':', '\\', '"', '$'], "")
}

impl Program {
    fn new(command: &Command, default: &'static str) -> Program {
        let mut command = command.clone();
        command.build();
        let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        let subs = subs.map(|sub| (sub.get_name().to_owned(), sub.clone()));
        let mut commands: Vec<_> = std::iter::once((String::new(), command.clone())).chain(subs).collect();
        if commands.iter().all(|(name, _)| name != default) {
            // Not a sub-command's name: the program itself, once its first word is there.
            commands.push((default.to_owned(), command.clone()));
        }
        Program { name: command.get_name().to_owned(), commands, default }
    }

    fn function(&self) -> String {
        self.name.replace('-', "_")
    }

    fn named(&self) -> impl Iterator<Item = &(String, Command)> {
        self.commands.iter().filter(|(name, command)| command.get_name() == name)
    }

    fn sub_commands(&self) -> Vec<&str> {
        self.named().map(|(name, _)| name.as_str()).collect()
    }

    /// Names of all options whose value is the next word, hidden ones, too.
    fn with_value(&self) -> Vec<String> {
        let all = self.commands.iter().flat_map(|(_, command)| command.get_opts()).flat_map(names);
        let mut all: Vec<String> = all.collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The cases of an option whose value is to be completed.
fn bash_values(program: &Program, text: &mut String) {
    for (sub, command) in &program.commands {
        for option in options(command) {
            let patterns: Vec<String> =
                names(option).iter().map(|option| format!("{sub}:{option}")).collect();
            let words = match value(option) {
                Value::Nothing => continue,
                Value::OneOf(words) => format!("compgen -W '{}' -- \"$current\"", words.join(" ")),
                Value::File => "compopt -o filenames && compgen -f -- \"$current\"".to_owned(),
                Value::Directory => "compopt -o filenames && compgen -d -- \"$current\"".to_owned(),
                Value::Other => ":".to_owned(),
            };
            let (before, words) =
                words.split_once(" && ").map_or(("", words.as_str()), |(before, words)| (before, words));
            let before = if before.is_empty() { String::new() } else { format!("{before}\n            ") };
            let _ = write!(
                text,
                "        {})\n            {before}mapfile -t COMPREPLY < <({words})\n            return\n            ;;\n",
                patterns.join(" | ")
            );
        }
    }
}

/// For bash 4.4 and later, with or without the package bash-completion.
pub(crate) fn bash(command: &Command, default: &'static str) -> String {
    let program = Program::new(command, default);
    let (name, function) = (&program.name, program.function());
    let (subs, with_value) = (program.sub_commands().join("|"), program.with_value().join("|"));
    let mut text = format!(
        "# bash completion for {name}
_{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} command='' at word skip=''
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${{COMP_WORDS[at]}}
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            {with_value}) skip=1 ;;
            --) command={default} && break ;;
            -* | =) ;;
            {subs}|help) command=$word && break ;;
            *) command={default} && break ;;
        esac
    done
    # --option=value comes as three words.
    [[ $current != = ]] || current=''
    [[ $previous != = ]] || previous=${{COMP_WORDS[COMP_CWORD - 2]}}
    case $command:$previous in
",
        default = program.default,
    );
    bash_values(&program, &mut text);
    let _ = write!(text, "    esac\n    local options=''\n    case $command in\n");
    for (sub, command) in &program.commands {
        let all: Vec<String> = options(command).into_iter().flat_map(names).collect();
        let sub = if sub.is_empty() { "''" } else { sub };
        let _ = writeln!(text, "        {sub}) options='{}' ;;", all.join(" "));
    }
    let _ = write!(
        text,
        "    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$current\")
        return
    fi
    compopt -o filenames
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W '{subs}' -- \"$current\"; compgen -f -- \"$current\") ;;
        help) mapfile -t COMPREPLY < <(compgen -W '{subs}' -- \"$current\") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;
    esac
}}
complete -F _{function} {name}
",
        subs = program.sub_commands().join(" ")
    );
    text
}

/// For zsh, as the file `_PROGRAM` in a directory of `$fpath`.
pub(crate) fn zsh(command: &Command, default: &'static str) -> String {
    let program = Program::new(command, default);
    let (name, with_value) = (&program.name, program.with_value().join("|"));
    let mut text = format!("#compdef {name}\n\n_{name}_commands() {{\n    local -a commands=(\n");
    for (sub, command) in program.named() {
        let _ = writeln!(text, "        '{sub}:{}'", help(command.get_about()));
    }
    let _ = write!(
        text,
        "    )
    _describe -t commands 'command' commands
}}

_{name}() {{
    local command='' skip='' word
    for word in \"${{(@)words[2,CURRENT-1]}}\"; do
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            ({with_value}) skip=1 ;;
            (--) command={default}; break ;;
            (-*) ;;
            ({subs}|help) command=$word; break ;;
            (*) command={default}; break ;;
        esac
    done
    case $command in
",
        default = program.default,
        subs = program.sub_commands().join("|"),
    );
    for (sub, command) in &program.commands {
        let sub = if sub.is_empty() { "''" } else { sub };
        let _ = write!(text, "        ({sub})\n            _arguments -s \\\n");
        for option in options(command) {
            let typed = names(option).join(",");
            let typed = if typed.contains(',') { format!("{{{typed}}}") } else { typed };
            let after = match value(option) {
                Value::Nothing => String::new(),
                Value::OneOf(words) => format!(":value:({})", words.join(" ")),
                Value::File => ":file:_files".to_owned(),
                Value::Directory => ":directory:_files -/".to_owned(),
                Value::Other => ":value: ".to_owned(),
            };
            let _ = writeln!(text, "                '*'{typed}'[{}]{after}' \\", help(option.get_help()));
        }
        let rest = match sub {
            "''" => format!("'*: :{{ _{name}_commands; _files }}'"),
            _ => "'*: :_files'".to_owned(),
        };
        let _ = write!(text, "                {rest}\n            ;;\n");
    }
    let _ = write!(
        text,
        "        (help) _{name}_commands ;;
    esac
}}

if [[ $funcstack[1] == _{name} ]]; then
    _{name} \"$@\"
else
    compdef _{name} {name}
fi
"
    );
    text
}

/// For fish.
pub(crate) fn fish(command: &Command, default: &'static str) -> String {
    let program = Program::new(command, default);
    let (name, function) = (&program.name, program.function());
    let mut text = format!(
        "# fish completion for {name}
function __{function}_command
    set -l skip ''
    for word in (commandline -opc)[2..-1]
        if test -n \"$skip\"
            set skip ''
            continue
        end
        switch $word
            case {with_value}
                set skip 1
            case --
                echo {default}
                return
            case '-*'
            case {subs} help
                echo $word
                return
            case '*'
                echo {default}
                return
        end
    end
    echo none
end

function __{function}_is
    test (__{function}_command) = $argv[1]
end

complete -c {name} -f
",
        default = program.default,
        with_value = program.with_value().join(" "),
        subs = program.sub_commands().join(" "),
    );
    for (sub, command) in program.named() {
        let about = help(command.get_about());
        let _ = writeln!(text, "complete -c {name} -n '__{function}_is none' -a {sub} -d '{about}'");
        let _ = writeln!(text, "complete -c {name} -n '__{function}_is help' -a {sub} -d '{about}'");
    }
    for (sub, command) in &program.commands {
        let sub = if sub.is_empty() { "none" } else { sub };
        let _ = writeln!(text, "complete -c {name} -n '__{function}_is {sub}' -F");
        for option in options(command) {
            let short = option.get_short().map(|letter| format!(" -s {letter}")).unwrap_or_default();
            let long = option.get_long().map(|long| format!(" -l {long}")).unwrap_or_default();
            let takes = match value(option) {
                Value::Nothing => String::new(),
                Value::OneOf(words) => format!(" -x -a '{}'", words.join(" ")),
                Value::File => " -r -F".to_owned(),
                Value::Directory => " -x -a '(__fish_complete_directories)'".to_owned(),
                Value::Other => " -x".to_owned(),
            };
            let help = help(option.get_help());
            let _ = writeln!(
                text,
                "complete -c {name} -n '__{function}_is {sub}'{short}{long}{takes} -d '{help}'"
            );
        }
    }
    text
}
