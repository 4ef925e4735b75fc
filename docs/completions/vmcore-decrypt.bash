# bash completion for vmcore-decrypt
_vmcore_decrypt() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' at word skip=''
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            --cmdline|--compress|--compress-level|--dump-level|--format|--identity|--jobs|--kernel|--num-threads|--output|--panic|--recipient|--recipients-file|--redact|--symbols|--tasks|--unmount|-R|-d|-i|-o|-r|-u) skip=1 ;;
            --) command=restore && break ;;
            -* | =) ;;
            restore|info|list|verify|dmesg|report|mount|rewrap|refilter|keygen|kmsg|help) command=$word && break ;;
            *) command=restore && break ;;
        esac
    done
    # --option=value comes as three words.
    [[ $current != = ]] || current=''
    [[ $previous != = ]] || previous=${COMP_WORDS[COMP_CWORD - 2]}
    case $command:$previous in
        :-i | :--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--format)
            mapfile -t COMPREPLY < <(compgen -W 'kdump elf flattened' -- "$current")
            return
            ;;
        :--compress)
            mapfile -t COMPREPLY < <(compgen -W 'zlib lzo snappy zstd none' -- "$current")
            return
            ;;
        :--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        restore:-i | restore:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        restore:--format)
            mapfile -t COMPREPLY < <(compgen -W 'kdump elf flattened' -- "$current")
            return
            ;;
        restore:--compress)
            mapfile -t COMPREPLY < <(compgen -W 'zlib lzo snappy zstd none' -- "$current")
            return
            ;;
        restore:--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        info:-i | info:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        list:-i | list:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        list:--kernel)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        list:--panic)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        list:--jobs)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        verify:-i | verify:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        verify:--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dmesg:-i | dmesg:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        report:-i | report:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        report:--tasks)
            mapfile -t COMPREPLY < <(compgen -W 'blocked all' -- "$current")
            return
            ;;
        report:--symbols)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        mount:-i | mount:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        mount:-u | mount:--unmount)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        rewrap:-i | rewrap:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        rewrap:-r | rewrap:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        rewrap:-R | rewrap:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        refilter:-i | refilter:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        refilter:-r | refilter:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        refilter:-R | refilter:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        refilter:-d | refilter:--dump-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        refilter:--redact)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        refilter:--compress-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        refilter:--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        keygen:-o | keygen:--output)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        kmsg:-i | kmsg:--identity)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
    esac
    local options=''
    case $command in
        '') options='-i --identity --format --compress --num-threads -f --force --salvage --json -q --quiet -v --version -h --help' ;;
        restore) options='-i --identity --format --compress --num-threads -f --force --salvage --json -q --quiet -h --help' ;;
        info) options='-i --identity --json -q --quiet -h --help' ;;
        list) options='-i --identity --kernel --panic --jobs --json --sort --group -q --quiet -h --help' ;;
        verify) options='-i --identity --num-threads --json -q --quiet -h --help' ;;
        dmesg) options='-i --identity -q --quiet -h --help' ;;
        report) options='-i --identity --tasks --symbols --json --no-cache -q --quiet -h --help' ;;
        mount) options='-i --identity -u --unmount -d --background --nonempty --no-cache -q --quiet -h --help' ;;
        rewrap) options='-i --identity -r --recipient -R --recipients-file -f --force --in-place --add -q --quiet -h --help' ;;
        refilter) options='-i --identity -r --recipient -R --recipients-file -d --dump-level --redact --compress-level --num-threads --as-makedumpfile --keep-cpu-lists --keep-page-structures --drop-page-structures -f --force -q --quiet -h --help' ;;
        keygen) options='-o --output --pq --passphrase -y --to-recipient -q --quiet -h --help' ;;
        kmsg) options='-i --identity --records -q --quiet -h --help' ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    compopt -o filenames
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W 'restore info list verify dmesg report mount rewrap refilter keygen kmsg' -- "$current"; compgen -f -- "$current") ;;
        help) mapfile -t COMPREPLY < <(compgen -W 'restore info list verify dmesg report mount rewrap refilter keygen kmsg' -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
}
complete -F _vmcore_decrypt vmcore-decrypt
