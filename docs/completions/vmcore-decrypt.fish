# fish completion for vmcore-decrypt
function __vmcore_decrypt_command
    set -l skip ''
    for word in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip ''
            continue
        end
        switch $word
            case --cmdline --compress --compress-level --dump-level --format --identity --jobs --kernel --num-threads --output --panic --recipient --recipients-file --redact --symbols --tasks --unmount -R -d -i -o -r -u
                set skip 1
            case --
                echo restore
                return
            case '-*'
            case restore info list verify dmesg report mount rewrap refilter keygen kmsg help
                echo $word
                return
            case '*'
                echo restore
                return
        end
    end
    echo none
end

function __vmcore_decrypt_is
    test (__vmcore_decrypt_command) = $argv[1]
end

complete -c vmcore-decrypt -f
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a restore -d 'Turn a dump back into a file that crash, drgn and gdb read; so does the command line without a sub-command'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a restore -d 'Turn a dump back into a file that crash, drgn and gdb read; so does the command line without a sub-command'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a info -d 'Show what a dump holds and who can open it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a info -d 'Show what a dump holds and who can open it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a list -d 'List the crashes of a fleet the dumps of directories and buckets'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a list -d 'List the crashes of a fleet the dumps of directories and buckets'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a verify -d 'Check that a dump is whole and authentic, without writing it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a verify -d 'Check that a dump is whole and authentic, without writing it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a dmesg -d 'Print the crashed kernels log'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a dmesg -d 'Print the crashed kernels log'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a report -d 'Report why the machine died'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a report -d 'Report why the machine died'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a mount -d 'Show a dump as files, without restoring it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a mount -d 'Show a dump as files, without restoring it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a rewrap -d 'Give a dump to other recipients'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a rewrap -d 'Give a dump to other recipients'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a refilter -d 'Make a dump at a higher level, for other recipients, of a dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a refilter -d 'Make a dump at a higher level, for other recipients, of a dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a keygen -d 'Make an identity and its recipient'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a keygen -d 'Make an identity and its recipient'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -a kmsg -d 'Decrypt the kernel messages in a log'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is help' -a kmsg -d 'Decrypt the kernel messages in a log'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -l format -x -a 'kdump elf flattened' -d 'Form of the restored dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -l compress -x -a 'zlib lzo snappy zstd none' -d 'How pages of a kdump file are compressed'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -l num-threads -x -d 'Threads that decrypt and compress default one per CPU'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -s f -l force -d 'Overwrite an existing output file, once the new one is written to its end'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -l salvage -d 'Restore what is authentic of a damaged or cut dump, and report what is lost'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -l json -d 'With --salvage report as one JSON object on standard output, with all that is lost'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -s v -l version -d 'Print the version; --version tells commit and features too'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is none' -s h -l help -d 'Print help (see more with --help)'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -l format -x -a 'kdump elf flattened' -d 'Form of the restored dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -l compress -x -a 'zlib lzo snappy zstd none' -d 'How pages of a kdump file are compressed'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -l num-threads -x -d 'Threads that decrypt and compress default one per CPU'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -s f -l force -d 'Overwrite an existing output file, once the new one is written to its end'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -l salvage -d 'Restore what is authentic of a damaged or cut dump, and report what is lost'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -l json -d 'With --salvage report as one JSON object on standard output, with all that is lost'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is restore' -s h -l help -d 'Print help (see more with --help)'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is info' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is info' -s i -l identity -r -F -d 'Identity file, to look inside; repeatable'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is info' -l json -d 'One JSON object'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is info' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is info' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -s i -l identity -r -F -d 'Identity file, to look inside; repeatable'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l kernel -x -d 'Only crashes of kernels whose release contains this'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l panic -x -d 'Only crashes whose panic line has each of these words, in any case'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l jobs -x -d 'How many dumps are read at once'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l json -d 'One JSON object a line'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l sort -d 'In the order of the crashes time'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -l group -d 'Count crashes of the same kind one line for each, the most frequent first'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is list' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -l num-threads -x -d 'Threads that decrypt and decompress default one per CPU'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -l json -d 'One JSON object, of a dump that fails, too'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is verify' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is dmesg' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is dmesg' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is dmesg' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is dmesg' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -l tasks -x -a 'blocked all' -d 'Which tasks are shown with their stacks'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -l symbols -x -a '(__fish_complete_directories)' -d 'Also write the kernels symbols and types into this new directory kallsyms.txt, btf (raw BTF), btf.d/MODULE'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -l json -d 'One JSON object'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -l no-cache -d 'Neither use nor keep the symbols and types of kernels in the cache'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is report' -s h -l help -d 'Print help (see more with --help)'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -s u -l unmount -x -a '(__fish_complete_directories)' -d 'End the mount on this directory'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -s d -l background -d 'Return when the dump is mounted, and serve it in the background'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -l nonempty -d 'Mount on a directory that is not empty, and hide what is in it'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -l no-cache -d 'Neither use nor keep the symbols and types of kernels in the cache'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is mount' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s f -l force -d 'Overwrite an existing output file, or the dump itself where no output is named'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -l in-place -d 'Replace the dump itself, or all parts of one'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -l add -d 'Keep the recipients that the dump has, beside the new ones'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is rewrap' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable default ~/.config/vmcore-decrypt/identities'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s d -l dump-level -x -d 'Which pages to leave out, as with vmcore-encrypt default the level of the dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l redact -x -d 'Overwrite secrets in the new dump. KINDS are names with commas between default, all, no-NAME for all but one; the kinds are in docs/handover.md. Nothing is written where one of them cannot be walked'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l compress-level -x -d 'zstd level of the new dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l num-threads -x -d 'Threads that decrypt, compress and encrypt default one per CPU'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l as-makedumpfile -d 'Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l keep-cpu-lists -d 'Save the free pages that CPUs keep on lists of their own for who hunts a use after free'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l keep-page-structures -d 'Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -l drop-page-structures -d 'Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s f -l force -d 'Overwrite an existing output file, once the new one is written to its end'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is refilter' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -s o -l output -r -F -d 'The identity file, or with -y the recipients file; it must not exist default standard output'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -l pq -d 'Post-quantum dumps stay closed to quantum computers too (age 1.3 and later, or this program)'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -l passphrase -d 'Protect the identity file with a passphrase, asked for on the terminal; an empty one has a passphrase made'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -s y -l to-recipient -d 'Print the recipients of an identity file instead'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is keygen' -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is kmsg' -F
complete -c vmcore-decrypt -n '__vmcore_decrypt_is kmsg' -s i -l identity -r -F -d 'Identity file age identities, an ssh private key; - is standard input; repeatable'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is kmsg' -l records -d 'Print records as /dev/kmsg gives them, with priority, number and dictionary'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is kmsg' -s q -l quiet -d 'Warnings and errors alone no progress, no notes'
complete -c vmcore-decrypt -n '__vmcore_decrypt_is kmsg' -s h -l help -d 'Print help'
