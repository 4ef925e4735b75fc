#compdef vmcore-decrypt

_vmcore-decrypt_commands() {
    local -a commands=(
        'restore:Turn a dump back into a file that crash, drgn and gdb read; so does the command line without a sub-command'
        'info:Show what a dump holds and who can open it'
        'list:List the crashes of a fleet the dumps of directories and buckets'
        'verify:Check that a dump is whole and authentic, without writing it'
        'dmesg:Print the crashed kernels log'
        'report:Report why the machine died'
        'mount:Show a dump as files, without restoring it'
        'rewrap:Give a dump to other recipients'
        'refilter:Make a dump at a higher level, for other recipients, of a dump'
        'keygen:Make an identity and its recipient'
        'kmsg:Decrypt the kernel messages in a log'
    )
    _describe -t commands 'command' commands
}

_vmcore-decrypt() {
    local command='' skip='' word
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            (--cmdline|--compress|--compress-level|--dump-level|--format|--identity|--jobs|--kernel|--num-threads|--output|--panic|--recipient|--recipients-file|--redact|--symbols|--tasks|--unmount|-R|-d|-i|-o|-r|-u) skip=1 ;;
            (--) command=restore; break ;;
            (-*) ;;
            (restore|info|list|verify|dmesg|report|mount|rewrap|refilter|keygen|kmsg|help) command=$word; break ;;
            (*) command=restore; break ;;
        esac
    done
    case $command in
        ('')
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'--format'[Form of the restored dump]:value:(kdump elf flattened)' \
                '*'--compress'[How pages of a kdump file are compressed]:value:(zlib lzo snappy zstd none)' \
                '*'--num-threads'[Threads that decrypt and compress default one per CPU]:value: ' \
                '*'{-f,--force}'[Overwrite an existing output file, once the new one is written to its end]' \
                '*'--salvage'[Restore what is authentic of a damaged or cut dump, and report what is lost]' \
                '*'--json'[With --salvage report as one JSON object on standard output, with all that is lost]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-v,--version}'[Print the version; --version tells commit and features too]' \
                '*'{-h,--help}'[Print help (see more with --help)]' \
                '*: :{ _vmcore-decrypt_commands; _files }'
            ;;
        (restore)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'--format'[Form of the restored dump]:value:(kdump elf flattened)' \
                '*'--compress'[How pages of a kdump file are compressed]:value:(zlib lzo snappy zstd none)' \
                '*'--num-threads'[Threads that decrypt and compress default one per CPU]:value: ' \
                '*'{-f,--force}'[Overwrite an existing output file, once the new one is written to its end]' \
                '*'--salvage'[Restore what is authentic of a damaged or cut dump, and report what is lost]' \
                '*'--json'[With --salvage report as one JSON object on standard output, with all that is lost]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help (see more with --help)]' \
                '*: :_files'
            ;;
        (info)
            _arguments -s \
                '*'{-i,--identity}'[Identity file, to look inside; repeatable]:file:_files' \
                '*'--json'[One JSON object]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (list)
            _arguments -s \
                '*'{-i,--identity}'[Identity file, to look inside; repeatable]:file:_files' \
                '*'--kernel'[Only crashes of kernels whose release contains this]:value: ' \
                '*'--panic'[Only crashes whose panic line has each of these words, in any case]:value: ' \
                '*'--jobs'[How many dumps are read at once]:value: ' \
                '*'--json'[One JSON object a line]' \
                '*'--sort'[In the order of the crashes time]' \
                '*'--group'[Count crashes of the same kind one line for each, the most frequent first]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (verify)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'--num-threads'[Threads that decrypt and decompress default one per CPU]:value: ' \
                '*'--json'[One JSON object, of a dump that fails, too]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (dmesg)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (report)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'--tasks'[Which tasks are shown with their stacks]:value:(blocked all)' \
                '*'--symbols'[Also write the kernels symbols and types into this new directory kallsyms.txt, btf (raw BTF), btf.d/MODULE]:directory:_files -/' \
                '*'--json'[One JSON object]' \
                '*'--no-cache'[Neither use nor keep the symbols and types of kernels in the cache]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help (see more with --help)]' \
                '*: :_files'
            ;;
        (mount)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'{-u,--unmount}'[End the mount on this directory]:directory:_files -/' \
                '*'{-d,--background}'[Return when the dump is mounted, and serve it in the background]' \
                '*'--nonempty'[Mount on a directory that is not empty, and hide what is in it]' \
                '*'--no-cache'[Neither use nor keep the symbols and types of kernels in the cache]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (rewrap)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'{-f,--force}'[Overwrite an existing output file, or the dump itself where no output is named]' \
                '*'--in-place'[Replace the dump itself, or all parts of one]' \
                '*'--add'[Keep the recipients that the dump has, beside the new ones]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (refilter)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities]:file:_files' \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'{-d,--dump-level}'[Which pages to leave out, as with vmcore-encrypt default the level of the dump]:value: ' \
                '*'--redact'[Overwrite secrets in the new dump. KINDS are names with commas between default, all, no-NAME for all but one; the kinds are in docs/handover.md. Nothing is written where one of them cannot be walked]:value: ' \
                '*'--compress-level'[zstd level of the new dump]:value: ' \
                '*'--num-threads'[Threads that decrypt, compress and encrypt default one per CPU]:value: ' \
                '*'--as-makedumpfile'[Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong]' \
                '*'--keep-cpu-lists'[Save the free pages that CPUs keep on lists of their own for who hunts a use after free]' \
                '*'--keep-page-structures'[Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump]' \
                '*'--drop-page-structures'[Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level]' \
                '*'{-f,--force}'[Overwrite an existing output file, once the new one is written to its end]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (keygen)
            _arguments -s \
                '*'{-o,--output}'[The identity file, or with -y the recipients file; it must not exist default standard output]:file:_files' \
                '*'--pq'[Post-quantum dumps stay closed to quantum computers too (age 1.3 and later, or this program)]' \
                '*'--passphrase'[Protect the identity file with a passphrase, asked for on the terminal; an empty one has a passphrase made]' \
                '*'{-y,--to-recipient}'[Print the recipients of an identity file instead]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (kmsg)
            _arguments -s \
                '*'{-i,--identity}'[Identity file age identities, an ssh private key; - is standard input; repeatable]:file:_files' \
                '*'--records'[Print records as /dev/kmsg gives them, with priority, number and dictionary]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (help) _vmcore-decrypt_commands ;;
    esac
}

if [[ $funcstack[1] == _vmcore-decrypt ]]; then
    _vmcore-decrypt "$@"
else
    compdef _vmcore-decrypt vmcore-decrypt
fi
