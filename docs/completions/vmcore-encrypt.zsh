#compdef vmcore-encrypt

autoload -U is-at-least

_vmcore-encrypt() {
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
'*-d+[Which pages to leave out\: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before]:N[,N...]:_default' \
'*--dump-level=[Which pages to leave out\: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before]:N[,N...]:_default' \
'*-r+[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*--recipient=[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*-R+[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'*--recipients-file=[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'--cmdline=[Honour the pins on this kernel command line too]:FILE:_files' \
'--compress-level=[zstd level of the dump]:LEVEL:_default' \
'(-F --framed)--output-device=[Write to this partition itself\: no file system, nothing else on it; the next boot collects it]:DEVICE:_files' \
'--allow-signature=[With --output-device /dev/disk/by-...\: what may be overwritten there, as the refusal calls it]:NAME:_default' \
'-L+[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so]:SIZE:_default' \
'--limit=[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so]:SIZE:_default' \
'--num-threads=[Threads that read, compress and encrypt \[default\: one per CPU\]]:N:_default' \
'--message-level=[Which messages\: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report]:N:_default' \
'*--cyclic-buffer=[]: :_default' \
'*--work-dir=[]: :_default' \
'*-b+[]: :_default' \
'*--splitblock-size=[]: :_default' \
'*--mem-usage=[]: :_default' \
'*-x+[]: :_default' \
'*-i+[]: :_default' \
'*-g+[]: :_default' \
'*--config=[]: :_default' \
'*--eppic=[]: :_default' \
'*--extension=[]: :_default' \
'*--vtop=[]: :_default' \
'*--xen-syms=[]: :_default' \
'*--xen-vmcoreinfo=[]: :_default' \
'*--xen_phys_start=[]: :_default' \
'*--diskset=[]: :_default' \
'--as-makedumpfile[Leave out the pages that makedumpfile leaves out at the same level, no others\: docs/filtering.md lists where it is wrong]' \
'--keep-cpu-lists[Save the free pages that CPUs keep on lists of their own\: for who hunts a use after free]' \
'(--dry-run)--dump-dmesg[Save the kernel log alone, as the dmesg sub-command does]' \
'--partial-dmesg[With --dump-dmesg\: only messages after the last clearing of the log]' \
'--passphrase[Known only to be refused with the reason]' \
'-c[Compress as makedumpfile'\''s default would\: zstd level 1 (the default)]' \
'-l[Compress fast\: zstd level -1]' \
'-p[Compress fast\: the same as -l]' \
'-z[Compress small\: zstd level 3]' \
'()-F[Write to standard output (the dump is a stream in any case)]' \
'()--framed[On standard output\: frame the dump as --output-device does, for a program that writes the partition]' \
'(-F --framed --output-device)--split[Write the dump to several files at the same time, each a part of it\: DUMPFILE DUMPFILE...]' \
'-f[Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused]' \
'--force[Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused]' \
'--keep-incomplete[Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains "-incomplete" or ".incomplete"]' \
'--non-mmap[Read /proc/vmcore page by page instead of mapping it\: slower, for kernels that cannot map it right]' \
'--dry-run[Do everything but write]' \
'-D[Debug messages too]' \
'--show-stats[The report even where --message-level leaves it out]' \
'--warnings-exit-0[Exit with 0 in place of 6 when the dump is whole but needs a warning\: for scripts that know no other success]' \
'--check-params[Check the command line and the recipients, then exit]' \
'-E[]' \
'--reassemble[]' \
'-e[]' \
'-X[]' \
'-v[Print the version]' \
'--version[Print the version]' \
'-h[Print help]' \
'--help[Print help]' \
':vmcore -- The vmcore\: /proc/vmcore in the capture kernel, or a copy of one:_files' \
'::dumpfiles -- The dump file; standard output when absent or with -F. With --split several, one for each part:_files' \
":: :_vmcore-encrypt_commands" \
"*::: :->vmcore-encrypt" \
&& ret=0
    case $state in
    (vmcore-encrypt)
        words=($line[3] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:vmcore-encrypt-command-$line[3]:"
        case $line[3] in
            (dmesg)
_arguments "${_arguments_options[@]}" : \
'*-r+[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*--recipient=[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*-R+[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'*--recipients-file=[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'--cmdline=[Honour the pins on this kernel command line too]:FILE:_files' \
'--passphrase[Known only to be refused with the reason]' \
'--partial-dmesg[Only messages after the last clearing of the log]' \
'--partial[Only messages after the last clearing of the log]' \
'-f[Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused]' \
'--force[Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused]' \
'-h[Print help]' \
'--help[Print help]' \
':vmcore -- The vmcore\: /proc/vmcore in the capture kernel, or a copy of one:_files' \
'::output -- The encrypted log; standard output when absent:_files' \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
'-R+[Recipients file that the collector is given \[default\: /etc/vmcore-encrypt/recipients\]]:FILE:_files' \
'--recipients-file=[Recipients file that the collector is given \[default\: /etc/vmcore-encrypt/recipients\]]:FILE:_files' \
'--root=[Look at the machine below this directory]:DIRECTORY:_files' \
'--json[Print one JSON object instead of lines]' \
'--recipients-only[Look at the recipients only]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(gate)
_arguments "${_arguments_options[@]}" : \
'--root=[The tree of the image; for kdump-tools, whose configuration is not in its image, the machine]:DIRECTORY:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':scripts -- Whose kdump scripts are in the image:((kdump-utils\:"Fedora, RHEL, CentOS Stream"
kdump-tools\:"Debian, Ubuntu"
kdump\:"SUSE"
own\:"Our own save alone"))' \
&& ret=0
;;
(config)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
'::file -- The configuration file:_files' \
&& ret=0
;;
(estimate)
_arguments "${_arguments_options[@]}" : \
'--json[Print one JSON object instead of lines]' \
'-h[Print help]' \
'--help[Print help]' \
'::memory -- The memory to look at:_files' \
&& ret=0
;;
(collect)
_arguments "${_arguments_options[@]}" : \
'--device=[The partition that --output-device or --framed wrote]:DEVICE:_files' \
'--dest=[The directory for the file; made when absent. It and all above it must be root'\''s, and nobody else may write there]:DIRECTORY:_files' \
'--reserve=[What stays free on the file system of that directory, with a suffix K M G T P E]:SIZE:_default' \
'--free-damaged[Free the partition of a damaged dump too, once all that can be read of it is copied]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(fingerprint)
_arguments "${_arguments_options[@]}" : \
'*-r+[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*--recipient=[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*-R+[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'*--recipients-file=[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'--cmdline=[Honour the pins on this kernel command line too]:FILE:_files' \
'--passphrase[Known only to be refused with the reason]' \
'--plugins[Print the plugin programs that the recipients need instead, one a line, for what builds an image]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(kmsg)
_arguments "${_arguments_options[@]}" : \
'*-r+[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*--recipient=[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:RECIPIENT:_default' \
'*-R+[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'*--recipients-file=[Encrypt to the recipients in this file, one a line; repeatable \[default\: /etc/vmcore-encrypt/recipients when no -r is given\]]:FILE:_files' \
'--cmdline=[Honour the pins on this kernel command line too]:FILE:_files' \
'(-w --follow)--input=[Read records in the form of /dev/kmsg from this file instead]:FILE:_files' \
'--passphrase[Known only to be refused with the reason]' \
'-w[Go on with messages as they come; without it the log as it is now is printed]' \
'--follow[Go on with messages as they come; without it the log as it is now is printed]' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(read-image)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_vmcore-encrypt__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:vmcore-encrypt-help-command-$line[1]:"
        case $line[1] in
            (dmesg)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(check)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(gate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(config)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(estimate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(collect)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(fingerprint)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(kmsg)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(read-image)
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

(( $+functions[_vmcore-encrypt_commands] )) ||
_vmcore-encrypt_commands() {
    local commands; commands=(
'dmesg:Save the crashed kernel'\''s log, encrypted' \
'check:Tell whether the next crash of this machine would be saved, encrypted' \
'gate:Tell image builders whether a kdump configuration has a way to a dump in plain' \
'config:Print the configuration of the saving scripts, checked, as shell assignments' \
'estimate:Estimate how large a dump of the running machine would be' \
'collect:Copy a dump from a raw partition into a file; needs no key' \
'fingerprint:Print the fingerprint of the recipients, to pin them' \
'kmsg:Print the running kernel'\''s log as encrypted lines' \
'read-image:Decode a kdump image for check' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'vmcore-encrypt commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__check_commands] )) ||
_vmcore-encrypt__subcmd__check_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt check commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__collect_commands] )) ||
_vmcore-encrypt__subcmd__collect_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt collect commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__config_commands] )) ||
_vmcore-encrypt__subcmd__config_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt config commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__dmesg_commands] )) ||
_vmcore-encrypt__subcmd__dmesg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt dmesg commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__estimate_commands] )) ||
_vmcore-encrypt__subcmd__estimate_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt estimate commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__fingerprint_commands] )) ||
_vmcore-encrypt__subcmd__fingerprint_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt fingerprint commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__gate_commands] )) ||
_vmcore-encrypt__subcmd__gate_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt gate commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help_commands] )) ||
_vmcore-encrypt__subcmd__help_commands() {
    local commands; commands=(
'dmesg:Save the crashed kernel'\''s log, encrypted' \
'check:Tell whether the next crash of this machine would be saved, encrypted' \
'gate:Tell image builders whether a kdump configuration has a way to a dump in plain' \
'config:Print the configuration of the saving scripts, checked, as shell assignments' \
'estimate:Estimate how large a dump of the running machine would be' \
'collect:Copy a dump from a raw partition into a file; needs no key' \
'fingerprint:Print the fingerprint of the recipients, to pin them' \
'kmsg:Print the running kernel'\''s log as encrypted lines' \
'read-image:Decode a kdump image for check' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'vmcore-encrypt help commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__check_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__check_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help check commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__collect_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__collect_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help collect commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__config_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__config_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help config commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__dmesg_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__dmesg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help dmesg commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__estimate_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__estimate_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help estimate commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__fingerprint_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__fingerprint_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help fingerprint commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__gate_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__gate_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help gate commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__help_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help help commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__kmsg_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__kmsg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help kmsg commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__help__subcmd__read-image_commands] )) ||
_vmcore-encrypt__subcmd__help__subcmd__read-image_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt help read-image commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__kmsg_commands] )) ||
_vmcore-encrypt__subcmd__kmsg_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt kmsg commands' commands "$@"
}
(( $+functions[_vmcore-encrypt__subcmd__read-image_commands] )) ||
_vmcore-encrypt__subcmd__read-image_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt read-image commands' commands "$@"
}

if [ "$funcstack[1]" = "_vmcore-encrypt" ]; then
    _vmcore-encrypt "$@"
else
    compdef _vmcore-encrypt vmcore-encrypt
fi
