# fish completion for vmcore-encrypt
function __vmcore_encrypt_command
    set -l skip ''
    for word in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip ''
            continue
        end
        switch $word
            case --allow-signature --ca-file --cmdline --compress-level --config --credentials --cyclic-buffer --dest --device --diskset --dump-level --eppic --extension --input --limit --mem-usage --message-level --num-threads --object-name --output-device --presigned --recipient --recipients-file --reserve --resolve --root --splitblock-size --stall --store --vtop --work-dir --xen-syms --xen-vmcoreinfo --xen_phys_start -L -R -b -d -g -i -r -x
                set skip 1
            case --
                echo dump
                return
            case '-*'
            case dmesg check gate config estimate collect fingerprint kmsg pstore help
                echo $word
                return
            case '*'
                echo dump
                return
        end
    end
    echo none
end

function __vmcore_encrypt_is
    test (__vmcore_encrypt_command) = $argv[1]
end

complete -c vmcore-encrypt -f
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a dmesg -d 'Save the crashed kernels log, encrypted'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a dmesg -d 'Save the crashed kernels log, encrypted'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a check -d 'Tell whether the next crash of this machine would be saved, encrypted'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a check -d 'Tell whether the next crash of this machine would be saved, encrypted'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a gate -d 'Tell image builders whether a kdump configuration has a way to a dump in plain'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a gate -d 'Tell image builders whether a kdump configuration has a way to a dump in plain'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a config -d 'Print the configuration of the saving scripts, checked, as shell assignments'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a config -d 'Print the configuration of the saving scripts, checked, as shell assignments'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a estimate -d 'Estimate how large a dump of the running machine would be'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a estimate -d 'Estimate how large a dump of the running machine would be'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a collect -d 'Copy a dump from a raw partition into a file; needs no key'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a collect -d 'Copy a dump from a raw partition into a file; needs no key'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a fingerprint -d 'Print the fingerprint of the recipients, to pin them'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a fingerprint -d 'Print the fingerprint of the recipients, to pin them'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a kmsg -d 'Print the running kernels log as encrypted lines'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a kmsg -d 'Print the running kernels log as encrypted lines'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -a pstore -d 'Take what the firmware kept of a crash (pstore), encrypted; needs no key'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is help' -a pstore -d 'Take what the firmware kept of a crash (pstore), encrypted; needs no key'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s d -l dump-level -x -d 'Which pages to leave out sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l compress-level -x -d 'zstd level of the dump'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l output-device -r -F -d 'Write to this partition itself no file system, nothing else on it; the next boot collects it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l allow-signature -x -d 'With --output-device /dev/disk/by-... what may be overwritten there, as the refusal calls it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s L -l limit -x -d 'The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and reports it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l num-threads -x -d 'Threads that read, compress and encrypt default one per CPU'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l credentials -r -F -d 'KEY=value lines with the right to write, mode 0600 AWS_ACCESS_KEY_ID and the like, GOOGLE_..., AZURE_..., HTTP_USER default /etc/vmcore-encrypt/credentials if it is there'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l presigned -r -F -d 'Put to these URLs, made beforehand one a line for each object of 16 MiB, the last for the end mark; mode 0600'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l object-name -x -d 'How the set of objects is called of {date}, {machine} (a hash), {random}, {host} and plain text'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l ca-file -r -F -d 'Trust servers by these certificates alone'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l resolve -x -d 'The address of a server, which is then used without a lookup; repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l stall -x -d 'Give a request up when nothing moves for so many seconds, and an object after five times that'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l message-level -x -d 'Which messages sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l as-makedumpfile -d 'Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l keep-cpu-lists -d 'Save the free pages that CPUs keep on lists of their own for who hunts a use after free'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l keep-page-structures -d 'Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l drop-page-structures -d 'Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l dump-dmesg -d 'Save the kernel log alone, as the dmesg sub-command does'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l partial-dmesg -d 'With --dump-dmesg only messages after the last clearing of the log'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s c -d 'Compress as makedumpfiles default would zstd level 1 (the default)'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s l -d 'Compress fast zstd level -1'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s p -d 'Compress fast the same as -l'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s z -d 'Compress small zstd level 3'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s F -d 'Write to standard output (the dump is a stream in any case)'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l framed -d 'On standard output frame the dump as --output-device does, for a program that writes the partition'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l split -d 'Write the dump to several files at the same time, each a part of it DUMPFILE DUMPFILE...'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s f -l force -d 'Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l keep-incomplete -d 'Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains -incomplete or .incomplete'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l non-mmap -d 'Read /proc/vmcore page by page instead of mapping it slower, for kernels that cannot map it right'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l dry-run -d 'Do everything but write'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l reassemble -d 'Encrypt the files that makedumpfile --split made of one dump as one dump PART PART... DUMPFILE'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l remove-source -d 'Remove the input, a file, once the dump is on the disk, was read back, and holds every page of it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l allow-fewer-pages -d 'With --remove-source remove the input also where the level leaves pages of it out'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l probe -d 'With --check-params put a small object, vmcore-encrypt-probe, to show that the store can be written to'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s D -d 'Debug messages too'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l show-stats -d 'The report even where --message-level leaves it out'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l warnings-exit-0 -d 'Exit with 0 in place of 6 when the dump is whole but needs a warning for scripts that know no other success'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -l check-params -d 'Check the command line and the recipients, then exit'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s v -l version -d 'Print the version; --version tells commit, features and targets too'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is none' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -l partial-dmesg -d 'Only messages after the last clearing of the log'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -s f -l force -d 'Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dmesg' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -s R -l recipients-file -r -F -d 'Recipients file that the collector is given, with --root by its path on that machine default /etc/vmcore-encrypt/recipients'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -l root -r -F -d 'Check the machine below this directory'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -l json -d 'Print one JSON object instead of lines'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -l recipients-only -d 'Check the recipients only'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is check' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is gate' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is gate' -l root -r -F -d 'The tree of the image; for kdump-tools, whose configuration is not in its image, the machine'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is gate' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is gate' -s h -l help -d 'Print help (see more with --help)'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is config' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is config' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is config' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is estimate' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is estimate' -l json -d 'Print one JSON object instead of lines'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is estimate' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is estimate' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -l device -r -F -d 'The partition that --output-device or --framed wrote'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -l dest -r -F -d 'The directory for the file; made when absent. It and all above it must be roots, and nobody else may write there'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -l reserve -x -d 'What stays free on the file system of that directory, with a suffix K M G T P E'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -l free-damaged -d 'Free the partition of a damaged dump too, once all that can be read of it is copied'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is collect' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -l plugins -d 'Print the plugin programs that the recipients need instead, one a line, for what builds an image'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is fingerprint' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -l input -r -F -d 'Read records in the form of /dev/kmsg from this file instead'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -s w -l follow -d 'Go on with messages as they come; without it the log as it is now is printed'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is kmsg' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -l dest -r -F -d 'The directory for the file; made when absent. It and all above it must be roots, and nobody else may write there'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -l store -r -F -d 'Where the records are'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is pstore' -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -F
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s d -l dump-level -x -d 'Which pages to leave out sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s r -l recipient -x -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s R -l recipients-file -r -F -d 'Encrypt to the recipients in this file, one a line; repeatable default /etc/vmcore-encrypt/recipients when no -r is given'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l compress-level -x -d 'zstd level of the dump'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l output-device -r -F -d 'Write to this partition itself no file system, nothing else on it; the next boot collects it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l allow-signature -x -d 'With --output-device /dev/disk/by-... what may be overwritten there, as the refusal calls it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s L -l limit -x -d 'The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and reports it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l num-threads -x -d 'Threads that read, compress and encrypt default one per CPU'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l credentials -r -F -d 'KEY=value lines with the right to write, mode 0600 AWS_ACCESS_KEY_ID and the like, GOOGLE_..., AZURE_..., HTTP_USER default /etc/vmcore-encrypt/credentials if it is there'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l presigned -r -F -d 'Put to these URLs, made beforehand one a line for each object of 16 MiB, the last for the end mark; mode 0600'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l object-name -x -d 'How the set of objects is called of {date}, {machine} (a hash), {random}, {host} and plain text'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l ca-file -r -F -d 'Trust servers by these certificates alone'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l resolve -x -d 'The address of a server, which is then used without a lookup; repeatable'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l stall -x -d 'Give a request up when nothing moves for so many seconds, and an object after five times that'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l message-level -x -d 'Which messages sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l as-makedumpfile -d 'Leave out the pages that makedumpfile leaves out at the same level, no others docs/filtering.md lists where it is wrong'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l keep-cpu-lists -d 'Save the free pages that CPUs keep on lists of their own for who hunts a use after free'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l keep-page-structures -d 'Save page structures also where they describe only pages that are left out for who asks about such a page itself, as kmem -p and files -p of crash do. On a machine with much memory they are most of the dump'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l drop-page-structures -d 'Leave them out, at levels that leave out all cache, user and free pages the default, except where vmcore-encrypt gets a dump of such a level'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l dump-dmesg -d 'Save the kernel log alone, as the dmesg sub-command does'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l partial-dmesg -d 'With --dump-dmesg only messages after the last clearing of the log'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s c -d 'Compress as makedumpfiles default would zstd level 1 (the default)'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s l -d 'Compress fast zstd level -1'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s p -d 'Compress fast the same as -l'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s z -d 'Compress small zstd level 3'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s F -d 'Write to standard output (the dump is a stream in any case)'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l framed -d 'On standard output frame the dump as --output-device does, for a program that writes the partition'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l split -d 'Write the dump to several files at the same time, each a part of it DUMPFILE DUMPFILE...'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s f -l force -d 'Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l keep-incomplete -d 'Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains -incomplete or .incomplete'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l non-mmap -d 'Read /proc/vmcore page by page instead of mapping it slower, for kernels that cannot map it right'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l dry-run -d 'Do everything but write'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l reassemble -d 'Encrypt the files that makedumpfile --split made of one dump as one dump PART PART... DUMPFILE'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l remove-source -d 'Remove the input, a file, once the dump is on the disk, was read back, and holds every page of it'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l allow-fewer-pages -d 'With --remove-source remove the input also where the level leaves pages of it out'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l probe -d 'With --check-params put a small object, vmcore-encrypt-probe, to show that the store can be written to'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s D -d 'Debug messages too'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l show-stats -d 'The report even where --message-level leaves it out'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l warnings-exit-0 -d 'Exit with 0 in place of 6 when the dump is whole but needs a warning for scripts that know no other success'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -l check-params -d 'Check the command line and the recipients, then exit'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s q -l quiet -d 'Warnings and errors alone no progress, no notes, no report'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s v -l version -d 'Print the version; --version tells commit, features and targets too'
complete -c vmcore-encrypt -n '__vmcore_encrypt_is dump' -s h -l help -d 'Print help'
