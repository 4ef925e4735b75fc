complete -c vmcore-encrypt -s d -l dump-level -d 'Which pages to leave out: sum of 1 zero, 2 non-private cache, 4 all cache, 8 user, 16 free. With several levels the next one is tried when the dump gets too large for the one before' -r
complete -c vmcore-encrypt -s r -l recipient -d 'Encrypt to this recipient (age1..., age1pq1..., ssh-ed25519 ..., ssh-rsa ...); repeatable' -r
complete -c vmcore-encrypt -s R -l recipients-file -d 'Encrypt to the recipients in this file, one a line; repeatable [default: /etc/vmcore-encrypt/recipients when no -r is given]' -r -F
complete -c vmcore-encrypt -l compress-level -d 'zstd level of the dump' -r
complete -c vmcore-encrypt -s L -l limit -d 'The most bytes the dump may take, with a suffix K M G T P E; a dump that would take more ends early and says so' -r
complete -c vmcore-encrypt -l num-threads -d 'Threads that read, compress and encrypt [default: one per CPU]' -r
complete -c vmcore-encrypt -l message-level -d 'Which messages: sum of 1 progress, 2 common, 4 errors (always shown), 8 debug, 16 report' -r
complete -c vmcore-encrypt -s c -d 'Compress as makedumpfile\'s default would: zstd level 1 (the default)'
complete -c vmcore-encrypt -s l -d 'Compress fast: zstd level -1'
complete -c vmcore-encrypt -s p -d 'Compress fast: the same as -l'
complete -c vmcore-encrypt -s z -d 'Compress small: zstd level 3'
complete -c vmcore-encrypt -s F -d 'Write to standard output (the dump is a stream in any case)'
complete -c vmcore-encrypt -s f -l force -d 'Overwrite an existing dump file'
complete -c vmcore-encrypt -l keep-incomplete -d 'Leave an unfinished dump file in place when an error ends the run'
complete -c vmcore-encrypt -l dry-run -d 'Do everything but write'
complete -c vmcore-encrypt -s D -d 'Debug messages too'
complete -c vmcore-encrypt -l show-stats -d 'The report even where --message-level leaves it out'
complete -c vmcore-encrypt -l check-params -d 'Check the command line and the recipients, then exit'
complete -c vmcore-encrypt -s v -l version -d 'Print the version'
complete -c vmcore-encrypt -s h -l help -d 'Print help'
