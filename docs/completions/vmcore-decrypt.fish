complete -c vmcore-decrypt -s i -l identity -d 'Identity file: age identities, an ssh private key; repeatable' -r -F
complete -c vmcore-decrypt -l format -d 'Form of the restored dump' -r -f -a "kdump\t'kdump-compressed: random access, smallest'
elf\t'An ELF core: for gdb too, uncompressed and sparse'
flattened\t'makedumpfile\'s flattened stream'"
complete -c vmcore-decrypt -l compress -d 'How pages of a kdump file are compressed' -r -f -a "zlib\t'Every reader has it'
lzo\t'makedumpfile -l'
snappy\t'makedumpfile -p'
zstd\t'Smallest; crash 8, libkdumpfile 0.5 and later'
none\t'Pages as they are'"
complete -c vmcore-decrypt -l num-threads -d 'Threads that decrypt and compress [default: one per CPU]' -r
complete -c vmcore-decrypt -s f -l force -d 'Overwrite an existing output file'
complete -c vmcore-decrypt -s v -l version -d 'Print the version'
complete -c vmcore-decrypt -s h -l help -d 'Print help (see more with \'--help\')'
