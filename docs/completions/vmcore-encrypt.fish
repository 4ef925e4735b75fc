# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vmcore_encrypt_global_optspecs
    string join \n d/dump-level= as-makedumpfile keep-cpu-lists dump-dmesg partial-dmesg r/recipient= R/recipients-file= passphrase cmdline= c l p z compress-level= F output-device= allow-signature= framed split f/force L/limit= keep-incomplete non-mmap dry-run num-threads= message-level= D show-stats warnings-exit-0 check-params E cyclic-buffer= work-dir= b= splitblock-size= reassemble mem-usage= x= i= g= e config= eppic= extension= vtop= X xen-syms= xen-vmcoreinfo= xen_phys_start= diskset= v/version h/help
end

function __fish_vmcore_encrypt_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vmcore_encrypt_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vmcore_encrypt_using_subcommand
    set -l cmd (__fish_vmcore_encrypt_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s d -l dump-level -d 'Which pages to leave out: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l cmdline -d 'Honour the pins on this kernel command line too' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l compress-level -d 'zstd level of the dump' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l output-device -d 'Write to this partition itself: no file system, nothing else on it; the next boot collects it' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l allow-signature -d 'With --output-device /dev/disk/by-...: what may be overwritten there, as the refusal calls it' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s L -l limit -d 'The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l num-threads -d 'Threads that read, compress and encrypt [default: one per CPU]' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l message-level -d 'Which messages: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l cyclic-buffer -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l work-dir -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s b -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l splitblock-size -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l mem-usage -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s x -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s i -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s g -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l config -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l eppic -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l extension -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l vtop -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l xen-syms -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l xen-vmcoreinfo -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l xen_phys_start -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l diskset -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l as-makedumpfile -d 'Leave out the pages that makedumpfile leaves out at the same level, no others: docs/filtering.md lists where it is wrong'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l keep-cpu-lists -d 'Save the free pages that CPUs keep on lists of their own: for who hunts a use after free'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l dump-dmesg -d 'Save the kernel log alone, as the dmesg sub-command does'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l partial-dmesg -d 'With --dump-dmesg: only messages after the last clearing of the log'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l passphrase -d 'Known only to be refused with the reason'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s c -d 'Compress as makedumpfile\'s default would: zstd level 1 (the default)'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s l -d 'Compress fast: zstd level -1'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s p -d 'Compress fast: the same as -l'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s z -d 'Compress small: zstd level 3'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s F -d 'Write to standard output (the dump is a stream in any case)'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l framed -d 'On standard output: frame the dump as --output-device does, for a program that writes the partition'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l split -d 'Write the dump to several files at the same time, each a part of it: DUMPFILE DUMPFILE...'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s f -l force -d 'Overwrite an existing dump file, which goes at once; a FIFO or character device is written to, a link refused'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l keep-incomplete -d 'Leave an unfinished dump file in place when an error or a signal ends the run; the default where its name contains "-incomplete" or ".incomplete"'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l non-mmap -d 'Read /proc/vmcore page by page instead of mapping it: slower, for kernels that cannot map it right'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l dry-run -d 'Do everything but write'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s D -d 'Debug messages too'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l show-stats -d 'The report even where --message-level leaves it out'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l warnings-exit-0 -d 'Exit with 0 in place of 6 when the dump is whole but needs a warning: for scripts that know no other success'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l check-params -d 'Check the command line and the recipients, then exit'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s E
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -l reassemble
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s e
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s X
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s v -l version -d 'Print the version'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "dmesg" -d 'Save the crashed kernel\'s log, encrypted'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "check" -d 'Tell whether the next crash of this machine would be saved, encrypted'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "gate" -d 'Tell image builders whether a kdump configuration has a way to a dump in plain'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "config" -d 'Print the configuration of the saving scripts, checked, as shell assignments'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "estimate" -d 'Estimate how large a dump of the running machine would be'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "collect" -d 'Copy a dump from a raw partition into a file; needs no key'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "fingerprint" -d 'Print the fingerprint of the recipients, to pin them'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "kmsg" -d 'Print the running kernel\'s log as encrypted lines'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "read-image" -d 'Decode a kdump image for check'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -l cmdline -d 'Honour the pins on this kernel command line too' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -l passphrase -d 'Known only to be refused with the reason'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -l partial-dmesg -l partial -d 'Only messages after the last clearing of the log'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -s f -l force -d 'Overwrite an existing file, which goes at once; a FIFO or character device is written to, a link refused'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand dmesg" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand check" -s R -l recipients-file -d 'Recipients file that the collector is given [default: /etc/vmcore-encrypt/recipients]' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand check" -l root -d 'Look at the machine below this directory' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand check" -l json -d 'Print one JSON object instead of lines'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand check" -l recipients-only -d 'Look at the recipients only'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand check" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand gate" -l root -d 'The tree of the image; for kdump-tools, whose configuration is not in its image, the machine' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand gate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand config" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand estimate" -l json -d 'Print one JSON object instead of lines'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand estimate" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand collect" -l device -d 'The partition that --output-device or --framed wrote' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand collect" -l dest -d 'The directory for the file; made when absent. It and all above it must be root\'s, and nobody else may write there' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand collect" -l reserve -d 'What stays free on the file system of that directory, with a suffix K M G T P E' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand collect" -l free-damaged -d 'Free the partition of a damaged dump too, once all that can be read of it is copied'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand collect" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -l cmdline -d 'Honour the pins on this kernel command line too' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -l passphrase -d 'Known only to be refused with the reason'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -l plugins -d 'Print the plugin programs that the recipients need instead, one a line, for what builds an image'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand fingerprint" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -l cmdline -d 'Honour the pins on this kernel command line too' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -l input -d 'Read records in the form of /dev/kmsg from this file instead' -r -F
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -l passphrase -d 'Known only to be refused with the reason'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -s w -l follow -d 'Go on with messages as they come; without it the log as it is now is printed'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand kmsg" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand read-image" -s h -l help -d 'Print help'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "dmesg" -d 'Save the crashed kernel\'s log, encrypted'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "check" -d 'Tell whether the next crash of this machine would be saved, encrypted'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "gate" -d 'Tell image builders whether a kdump configuration has a way to a dump in plain'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "config" -d 'Print the configuration of the saving scripts, checked, as shell assignments'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "estimate" -d 'Estimate how large a dump of the running machine would be'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "collect" -d 'Copy a dump from a raw partition into a file; needs no key'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "fingerprint" -d 'Print the fingerprint of the recipients, to pin them'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "kmsg" -d 'Print the running kernel\'s log as encrypted lines'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "read-image" -d 'Decode a kdump image for check'
complete -c vmcore-encrypt -n "__fish_vmcore_encrypt_using_subcommand help; and not __fish_seen_subcommand_from dmesg check gate config estimate collect fingerprint kmsg read-image help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
