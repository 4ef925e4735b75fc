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
'*-i+[Identity file\: age identities, an ssh private key; repeatable]:FILE:_files' \
'*--identity=[Identity file\: age identities, an ssh private key; repeatable]:FILE:_files' \
'--format=[Form of the restored dump]:FORMAT:((kdump\:"kdump-compressed\: random access, smallest"
elf\:"An ELF core\: for gdb too, uncompressed and sparse"
flattened\:"makedumpfile'\''s flattened stream"))' \
'--compress=[How pages of a kdump file are compressed]:CODEC:((zlib\:"Every reader has it"
lzo\:"makedumpfile -l"
snappy\:"makedumpfile -p"
zstd\:"Smallest; crash 8, libkdumpfile 0.5 and later"
none\:"Pages as they are"))' \
'--num-threads=[Threads that decrypt and compress \[default\: one per CPU\]]:N:_default' \
'-f[Overwrite an existing output file]' \
'--force[Overwrite an existing output file]' \
'-v[Print the version]' \
'--version[Print the version]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':dump -- The encrypted dump; - is standard input:_files' \
':output -- The restored dump; - is standard output, with --format flattened:_files' \
&& ret=0
}

(( $+functions[_vmcore-decrypt_commands] )) ||
_vmcore-decrypt_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-decrypt commands' commands "$@"
}

if [ "$funcstack[1]" = "_vmcore-decrypt" ]; then
    _vmcore-decrypt "$@"
else
    compdef _vmcore-decrypt vmcore-decrypt
fi
