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
'--compress-level=[zstd level of the dump]:LEVEL:_default' \
'-L+[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so]:SIZE:_default' \
'--limit=[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so]:SIZE:_default' \
'--num-threads=[Threads that read, compress and encrypt \[default\: one per CPU\]]:N:_default' \
'--message-level=[Which messages\: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report]:N:_default' \
'-c[Compress as makedumpfile'\''s default would\: zstd level 1 (the default)]' \
'-l[Compress fast\: zstd level -1]' \
'-p[Compress fast\: the same as -l]' \
'-z[Compress small\: zstd level 3]' \
'()-F[Write to standard output (the dump is a stream in any case)]' \
'-f[Overwrite an existing dump file]' \
'--force[Overwrite an existing dump file]' \
'--keep-incomplete[Leave an unfinished dump file in place when an error ends the run]' \
'--dry-run[Do everything but write]' \
'-D[Debug messages too]' \
'--show-stats[The report even where --message-level leaves it out]' \
'--check-params[Check the command line and the recipients, then exit]' \
'-v[Print the version]' \
'--version[Print the version]' \
'-h[Print help]' \
'--help[Print help]' \
':vmcore -- The vmcore\: /proc/vmcore in the capture kernel, or a copy of one:_files' \
'::dumpfile -- The dump file; standard output when absent or with -F:_files' \
&& ret=0
}

(( $+functions[_vmcore-encrypt_commands] )) ||
_vmcore-encrypt_commands() {
    local commands; commands=()
    _describe -t commands 'vmcore-encrypt commands' commands "$@"
}

if [ "$funcstack[1]" = "_vmcore-encrypt" ]; then
    _vmcore-encrypt "$@"
else
    compdef _vmcore-encrypt vmcore-encrypt
fi
