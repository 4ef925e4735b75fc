# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_vmcore_decrypt_global_optspecs
    string join \n i/identity= format= compress= f/force salvage json num-threads= v/version h/help
end

function __fish_vmcore_decrypt_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_vmcore_decrypt_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_vmcore_decrypt_using_subcommand
    set -l cmd (__fish_vmcore_decrypt_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -l format -d 'Form of the restored dump' -r -f -a "kdump\t'kdump-compressed: random access, smallest'
elf\t'An ELF core: for gdb too, uncompressed and sparse'
flattened\t'makedumpfile\'s flattened stream'"
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -l compress -d 'How pages of a kdump file are compressed' -r -f -a "zlib\t'Every reader has it'
lzo\t'makedumpfile -l'
snappy\t'makedumpfile -p'
zstd\t'Smallest; crash 8, libkdumpfile 0.5 and later'
none\t'Pages as they are'"
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -l num-threads -d 'Threads that decrypt and compress [default: one per CPU]' -r
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -s f -l force -d 'Overwrite an existing output file, once the new one is whole'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -l salvage -d 'Restore what is authentic of a damaged or cut dump, and say what is lost'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -l json -d 'With --salvage: report as one JSON object on standard output, with all that is lost'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -s v -l version -d 'Print the version'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "info" -d 'Show what a dump holds and who can open it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "verify" -d 'Check that a dump is whole and authentic, without writing it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "dmesg" -d 'Print the crashed kernel\'s log'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "mount" -d 'Show a dump as files, without restoring it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "rewrap" -d 'Give a dump to other recipients'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "keygen" -d 'Make an identity and its recipient'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "kmsg" -d 'Decrypt the kernel messages in a log'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand info" -s i -l identity -d 'Identity file, to look inside; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand info" -l json -d 'One JSON object'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand info" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand verify" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand verify" -l num-threads -d 'Threads that decrypt and decompress [default: one per CPU]' -r
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand verify" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand dmesg" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand dmesg" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand mount" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand mount" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -l cmdline -d 'Honour the pins on this kernel command line too' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -l passphrase -d 'Known only to be refused with the reason'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -s f -l force -d 'Overwrite an existing output file, or the dump itself where no output is named'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -l in-place -d 'Replace the dump itself'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -l add -d 'Keep the recipients that the dump has, beside the new ones'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand rewrap" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand keygen" -s o -l output -d 'The identity file; it must not exist' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand keygen" -l pq -d 'Post-quantum: dumps stay closed to quantum computers too (age 1.3 and later, or this program)'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand keygen" -l passphrase -d 'Protect the identity file with a passphrase, asked for on the terminal'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand keygen" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand kmsg" -s i -l identity -d 'Identity file: age identities, an ssh private key; - is standard input; repeatable' -r -F
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand kmsg" -l records -d 'Print records as /dev/kmsg gives them, with priority, number and dictionary'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand kmsg" -s h -l help -d 'Print help'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "info" -d 'Show what a dump holds and who can open it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "verify" -d 'Check that a dump is whole and authentic, without writing it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "dmesg" -d 'Print the crashed kernel\'s log'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "mount" -d 'Show a dump as files, without restoring it'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "rewrap" -d 'Give a dump to other recipients'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "keygen" -d 'Make an identity and its recipient'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "kmsg" -d 'Decrypt the kernel messages in a log'
complete -c vmcore-decrypt -n "__fish_vmcore_decrypt_using_subcommand help; and not __fish_seen_subcommand_from info verify dmesg mount rewrap keygen kmsg help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
