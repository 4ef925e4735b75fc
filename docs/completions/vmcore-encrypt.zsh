#compdef vmcore-encrypt

_vmcore-encrypt_commands() {
    local -a commands=(
        'dmesg:Save the crashed kernels log, encrypted'
        'check:Tell whether the next crash of this machine would be saved, encrypted'
        'gate:Tell image builders whether a kdump configuration has a way to a dump in plain'
        'config:Print the configuration of the saving scripts, checked, as shell assignments'
        'estimate:Estimate how large a dump of the running machine would be'
        'collect:Copy a dump from a raw partition into a file; needs no key'
        'fingerprint:Print the fingerprint of the recipients, to pin them'
        'kmsg:Print the running kernels log as encrypted lines'
        'pstore:Take what the firmware kept of a crash (pstore), encrypted; needs no key'
    )
    _describe -t commands 'command' commands
}

_vmcore-encrypt() {
    local command='' skip='' word
    for word in "${(@)words[2,CURRENT-1]}"; do
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            (--allow-signature|--ca-file|--cmdline|--compress-level|--config|--credentials|--cyclic-buffer|--dest|--device|--diskset|--dump-level|--eppic|--extension|--input|--limit|--mem-usage|--message-level|--num-threads|--object-name|--output-device|--presigned|--recipient|--recipients-file|--reserve|--resolve|--root|--splitblock-size|--stall|--store|--vtop|--work-dir|--xen-syms|--xen-vmcoreinfo|--xen_phys_start|-L|-R|-b|-d|-g|-i|-r|-x) skip=1 ;;
            (--) command=dump; break ;;
            (-*) ;;
            (dmesg|check|gate|config|estimate|collect|fingerprint|kmsg|pstore|help) command=$word; break ;;
            (*) command=dump; break ;;
        esac
    done
    case $command in
        ('')
            _arguments -s \
                '*'{-d,--dump-level}'[Which pages to leave out sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before]:value: ' \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--compress-level'[zstd level of the dump]:value: ' \
                '*'--output-device'[Write to this partition itself no file system, nothing else on it; the next boot collects it]:file:_files' \
                '*'--allow-signature'[With --output-device /dev/disk/by-... what may be overwritten there, as the refusal calls it]:value: ' \
                '*'{-L,--limit}'[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and reports it]:value: ' \
                '*'--num-threads'[Threads that read, compress and encrypt default one per CPU]:value: ' \
                '*'--credentials'[KEY=value lines with the right to write, mode 0600 AWS_ACCESS_KEY_ID and the like, GOOGLE_..., AZURE_..., HTTP_USER default /etc/vmcore-encrypt/credentials if it is there]:file:_files' \
                '*'--presigned'[Put to these URLs, made beforehand one a line for each object of 16 MiB, the last for the end mark; mode 0600]:file:_files' \
                '*'--object-name'[How the set of objects is called of {date}, {machine} (a hash), {random}, {host} and plain text]:value: ' \
                '*'--ca-file'[Trust servers by these certificates alone]:file:_files' \
                '*'--resolve'[The address of a server, which is then used without a lookup; repeatable]:value: ' \
                '*'--stall'[Give a request up when nothing moves for so many seconds, and an object after five times that]:value: ' \
                '*'--message-level'[Which messages sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report]:value: ' \
                '*'--as-makedumpfile'[Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong]' \
                '*'--keep-cpu-lists'[Save the free pages that CPUs keep on lists of their own for who hunts a use after free]' \
                '*'--keep-page-structures'[Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump]' \
                '*'--drop-page-structures'[Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level]' \
                '*'--dump-dmesg'[Save the kernel log alone, as the dmesg sub-command does]' \
                '*'--partial-dmesg'[With --dump-dmesg only messages after the last clearing of the log]' \
                '*'-c'[Compress as makedumpfiles default would zstd level 1 (the default)]' \
                '*'-l'[Compress fast zstd level -1]' \
                '*'-p'[Compress fast the same as -l]' \
                '*'-z'[Compress small zstd level 3]' \
                '*'-F'[Write to standard output (the dump is a stream in any case)]' \
                '*'--framed'[On standard output frame the dump as --output-device does, for a program that writes the partition]' \
                '*'--split'[Write the dump to several files at the same time, each a part of it DUMPFILE DUMPFILE...]' \
                '*'{-f,--force}'[Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused]' \
                '*'--keep-incomplete'[Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains -incomplete or .incomplete]' \
                '*'--non-mmap'[Read /proc/vmcore page by page instead of mapping it slower, for kernels that cannot map it right]' \
                '*'--dry-run'[Do everything but write]' \
                '*'--reassemble'[Encrypt the files that makedumpfile --split made of one dump as one dump PART PART... DUMPFILE]' \
                '*'--remove-source'[Remove the input, a file, once the dump is on the disk, was read back, and holds every page of it]' \
                '*'--allow-fewer-pages'[With --remove-source remove the input also where the level leaves pages of it out]' \
                '*'--probe'[With --check-params put a small object, vmcore-encrypt-probe, to show that the store can be written to]' \
                '*'-D'[Debug messages too]' \
                '*'--show-stats'[The report even where --message-level leaves it out]' \
                '*'--warnings-exit-0'[Exit with 0 in place of 6 when the dump is whole but needs a warning for scripts that know no other success]' \
                '*'--check-params'[Check the command line and the recipients, then exit]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-v,--version}'[Print the version; --version tells commit, features and targets too]' \
                '*'{-h,--help}'[Print help]' \
                '*: :{ _vmcore-encrypt_commands; _files }'
            ;;
        (dmesg)
            _arguments -s \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--partial-dmesg'[Only messages after the last clearing of the log]' \
                '*'{-f,--force}'[Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (check)
            _arguments -s \
                '*'{-R,--recipients-file}'[Recipients file that the collector is given, with --root by its path on that machine default /etc/vmcore-encrypt/recipients]:file:_files' \
                '*'--root'[Check the machine below this directory]:file:_files' \
                '*'--json'[Print one JSON object instead of lines]' \
                '*'--recipients-only'[Check the recipients only]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (gate)
            _arguments -s \
                '*'--root'[The tree of the image; for kdump-tools, whose configuration is not in its image, the machine]:file:_files' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help (see more with --help)]' \
                '*: :_files'
            ;;
        (config)
            _arguments -s \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (estimate)
            _arguments -s \
                '*'--json'[Print one JSON object instead of lines]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (collect)
            _arguments -s \
                '*'--device'[The partition that --output-device or --framed wrote]:file:_files' \
                '*'--dest'[The directory for the file; made when absent. It and all above it must be roots, and nobody else may write there]:file:_files' \
                '*'--reserve'[What stays free on the file system of that directory, with a suffix K M G T P E]:value: ' \
                '*'--free-damaged'[Free the partition of a damaged dump too, once all that can be read of it is copied]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (fingerprint)
            _arguments -s \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--plugins'[Print the plugin programs that the recipients need instead, one a line, for what builds an image]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (kmsg)
            _arguments -s \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--input'[Read records in the form of /dev/kmsg from this file instead]:file:_files' \
                '*'{-w,--follow}'[Go on with messages as they come; without it the log as it is now is printed]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (pstore)
            _arguments -s \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--dest'[The directory for the file; made when absent. It and all above it must be roots, and nobody else may write there]:file:_files' \
                '*'--store'[Where the records are]:file:_files' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (dump)
            _arguments -s \
                '*'{-d,--dump-level}'[Which pages to leave out sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before]:value: ' \
                '*'{-r,--recipient}'[Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable]:value: ' \
                '*'{-R,--recipients-file}'[Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given]:file:_files' \
                '*'--compress-level'[zstd level of the dump]:value: ' \
                '*'--output-device'[Write to this partition itself no file system, nothing else on it; the next boot collects it]:file:_files' \
                '*'--allow-signature'[With --output-device /dev/disk/by-... what may be overwritten there, as the refusal calls it]:value: ' \
                '*'{-L,--limit}'[The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and reports it]:value: ' \
                '*'--num-threads'[Threads that read, compress and encrypt default one per CPU]:value: ' \
                '*'--credentials'[KEY=value lines with the right to write, mode 0600 AWS_ACCESS_KEY_ID and the like, GOOGLE_..., AZURE_..., HTTP_USER default /etc/vmcore-encrypt/credentials if it is there]:file:_files' \
                '*'--presigned'[Put to these URLs, made beforehand one a line for each object of 16 MiB, the last for the end mark; mode 0600]:file:_files' \
                '*'--object-name'[How the set of objects is called of {date}, {machine} (a hash), {random}, {host} and plain text]:value: ' \
                '*'--ca-file'[Trust servers by these certificates alone]:file:_files' \
                '*'--resolve'[The address of a server, which is then used without a lookup; repeatable]:value: ' \
                '*'--stall'[Give a request up when nothing moves for so many seconds, and an object after five times that]:value: ' \
                '*'--message-level'[Which messages sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report]:value: ' \
                '*'--as-makedumpfile'[Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong]' \
                '*'--keep-cpu-lists'[Save the free pages that CPUs keep on lists of their own for who hunts a use after free]' \
                '*'--keep-page-structures'[Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump]' \
                '*'--drop-page-structures'[Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level]' \
                '*'--dump-dmesg'[Save the kernel log alone, as the dmesg sub-command does]' \
                '*'--partial-dmesg'[With --dump-dmesg only messages after the last clearing of the log]' \
                '*'-c'[Compress as makedumpfiles default would zstd level 1 (the default)]' \
                '*'-l'[Compress fast zstd level -1]' \
                '*'-p'[Compress fast the same as -l]' \
                '*'-z'[Compress small zstd level 3]' \
                '*'-F'[Write to standard output (the dump is a stream in any case)]' \
                '*'--framed'[On standard output frame the dump as --output-device does, for a program that writes the partition]' \
                '*'--split'[Write the dump to several files at the same time, each a part of it DUMPFILE DUMPFILE...]' \
                '*'{-f,--force}'[Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused]' \
                '*'--keep-incomplete'[Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains -incomplete or .incomplete]' \
                '*'--non-mmap'[Read /proc/vmcore page by page instead of mapping it slower, for kernels that cannot map it right]' \
                '*'--dry-run'[Do everything but write]' \
                '*'--reassemble'[Encrypt the files that makedumpfile --split made of one dump as one dump PART PART... DUMPFILE]' \
                '*'--remove-source'[Remove the input, a file, once the dump is on the disk, was read back, and holds every page of it]' \
                '*'--allow-fewer-pages'[With --remove-source remove the input also where the level leaves pages of it out]' \
                '*'--probe'[With --check-params put a small object, vmcore-encrypt-probe, to show that the store can be written to]' \
                '*'-D'[Debug messages too]' \
                '*'--show-stats'[The report even where --message-level leaves it out]' \
                '*'--warnings-exit-0'[Exit with 0 in place of 6 when the dump is whole but needs a warning for scripts that know no other success]' \
                '*'--check-params'[Check the command line and the recipients, then exit]' \
                '*'{-q,--quiet}'[Warnings and errors alone no progress, no notes, no report]' \
                '*'{-v,--version}'[Print the version; --version tells commit, features and targets too]' \
                '*'{-h,--help}'[Print help]' \
                '*: :_files'
            ;;
        (help) _vmcore-encrypt_commands ;;
    esac
}

if [[ $funcstack[1] == _vmcore-encrypt ]]; then
    _vmcore-encrypt "$@"
else
    compdef _vmcore-encrypt vmcore-encrypt
fi
