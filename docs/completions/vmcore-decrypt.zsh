#compdef vmcore-decrypt

autoload -U is-at-least

_vmcore-decrypt() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'--format=[Form of the restored dump]:FORMAT:((kdump\:"kdump-compressed\: random access, smallest"
elf\:"An ELF core\: for gdb too, uncompressed and sparse"
flattened\:"makedumpfile'\''s flattened stream"))' \
'--compress=[How pages of a kdump file are compressed]:CODEC:((zlib\:"Every reader has it"
lzo\:"makedumpfile -l"
snappy\:"makedumpfile -p"
zstd\:"Smallest; crash 8, libkdumpfile 0.5 and later"
none\:"Pages as they are"))' \
'--num-threads=[Threads that decrypt and compress \[default\: one per CPU\]]:N:_default' \
'-f[Overwrite an existing output file, once the new one is whole]' \
'--force[Overwrite an existing output file, once the new one is whole]' \
'--salvage[Restore what is authentic of a damaged or cut dump, and say what is lost]' \
'--json[With --salvage\: report as one JSON object on standard output, with all that is lost]' \
'-v[Print the version]' \
'--version[Print the version]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':dumps -- The encrypted dump; - is standard input. Of a dump in parts (vmcore-encrypt --split) all parts:_files' \
':output -- The restored dump; - is standard output, with --format flattened:_files' \
":: :_vmcore-decrypt_commands" \
"*::: :->vmcore-decrypt" \
&& ret=0
    case $state in
    (vmcore-decrypt)
        words=($line[3] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:vmcore-decrypt-command-$line[3]:"
        case $line[3] in
            (info)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file, to look inside; repeatable]:FILE:_files' \
'*--identity=[Identity file, to look inside; repeatable]:FILE:_files' \
'--json[One JSON object]' \
'-h[Print help]' \
'--help[Print help]' \
':dump -- The encrypted dump:_files' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'--num-threads=[Threads that decrypt and decompress \[default\: one per CPU\]]:N:_default' \
'-h[Print help]' \
'--help[Print help]' \
':dump -- The encrypted dump; - is standard input:_files' \
&& ret=0
;;
(dmesg)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':dump -- The encrypted dump, or an encrypted log of vmcore-encrypt dmesg (then - is standard input):_files' \
&& ret=0
;;
(mount)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':dump -- The encrypted dump:_files' \
':directory -- An existing directory:_files' \
'*::command -- Run this while the dump is mounted:_default' \
&& ret=0
;;
(rewrap)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*-r+[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*--recipient=[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*-R+[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'*--recipients-file=[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'--cmdline=[Honour the pins on this kernel command line too]:FILE:_files' \
'--passphrase[Known only to be refused with the reason]' \
'-f[Overwrite an existing output file, or the dump itself where no output is named]' \
'--force[Overwrite an existing output file, or the dump itself where no output is named]' \
'()--in-place[Replace the dump itself]' \
'--add[Keep the recipients that the dump has, beside the new ones]' \
'-h[Print help]' \
'--help[Print help]' \
':dump -- The encrypted dump, or an encrypted log:_files' \
'::output -- The file for the new recipients; - is standard output; absent with --in-place:_files' \
&& ret=0
;;
(keygen)
_arguments "${_arguments_options[@]}" : \
'-o+[The identity file; it must not exist]:FILE:_files' \
'--output=[The identity file; it must not exist]:FILE:_files' \
'--pq[Post-quantum\: dumps stay closed to quantum computers too (age 1.3 and later, or this program)]' \
'--passphrase[Protect the identity file with a passphrase, asked for on the terminal]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(kmsg)
_arguments "${_arguments_options[@]}" : \
'*-i+[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; - is standard input; repeatable]:FILE:_files' \
'--records[Print records as /dev/kmsg gives them, with priority, number and dictionary]' \
'-h[Print help]' \
'--help[Print help]' \
'*::logs -- The logs, oldest first; - is standard input:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_vmcore-decrypt__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:vmcore-decrypt-help-command-$line[1]:"
        case $line[1] in
            (info)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(dmesg)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(mount)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(rewrap)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(keygen)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(kmsg)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_vmcore-decrypt_commands] )) ||
_vmcore-decrypt_commands() {
    local commands; commands=(
'info:Show what a dump holds and who can open it' \
'verify:Check that a dump is whole and authentic, without writing it' \
'dmesg:Print the crashed kernel'\''s log' \
'mount:Show a dump as files, without restoring it' \
'rewrap:Give a dump to other recipients' \
'keygen:Make an identity and its recipient' \
'kmsg:Decrypt the kernel messages in a log' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'vmcore-decrypt commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__dmesg_commands] )) ||
_vmcore-decrypt__subcmd__dmesg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt dmesg commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help_commands] )) ||
_vmcore-decrypt__subcmd__help_commands() {
    local commands; commands=(
'info:Show what a dump holds and who can open it' \
'verify:Check that a dump is whole and authentic, without writing it' \
'dmesg:Print the crashed kernel'\''s log' \
'mount:Show a dump as files, without restoring it' \
'rewrap:Give a dump to other recipients' \
'keygen:Make an identity and its recipient' \
'kmsg:Decrypt the kernel messages in a log' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'vmcore-decrypt help commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__dmesg_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__dmesg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help dmesg commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__help_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help help commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__info_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__info_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help info commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__keygen_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__keygen_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help keygen commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__kmsg_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__kmsg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help kmsg commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__mount_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__mount_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help mount commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__rewrap_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__rewrap_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help rewrap commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__help__subcmd__verify_commands] )) ||
_vmcore-decrypt__subcmd__help__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt help verify commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__info_commands] )) ||
_vmcore-decrypt__subcmd__info_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt info commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__keygen_commands] )) ||
_vmcore-decrypt__subcmd__keygen_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt keygen commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__kmsg_commands] )) ||
_vmcore-decrypt__subcmd__kmsg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt kmsg commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__mount_commands] )) ||
_vmcore-decrypt__subcmd__mount_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt mount commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__rewrap_commands] )) ||
_vmcore-decrypt__subcmd__rewrap_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt rewrap commands' commands "$@"
}
(( $+functions[_vmcore-decrypt__subcmd__verify_commands] )) ||
_vmcore-decrypt__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt verify commands' commands "$@"
}

if [ "$funcstack[1]" = "_vmcore-decrypt" ]; then
    _vmcore-decrypt "$@"
else
    compdef _vmcore-decrypt vmcore-decrypt
fi
