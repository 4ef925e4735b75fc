# bash completion for vmcore-encrypt
_vmcore_encrypt() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command='' at word skip=''
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        if [[ -n $skip ]]; then
            skip=''
            continue
        fi
        case $word in
            --allow-signature|--ca-file|--cmdline|--compress-level|--config|--credentials|--cyclic-buffer|--dest|--device|--diskset|--dump-level|--eppic|--extension|--input|--limit|--mem-usage|--message-level|--num-threads|--object-name|--output-device|--presigned|--recipient|--recipients-file|--reserve|--resolve|--root|--splitblock-size|--stall|--store|--vtop|--work-dir|--xen-syms|--xen-vmcoreinfo|--xen_phys_start|-L|-R|-b|-d|-g|-i|-r|-x) skip=1 ;;
            --) command=dump && break ;;
            -* | =) ;;
            dmesg|check|gate|config|estimate|collect|fingerprint|kmsg|pstore|help) command=$word && break ;;
            *) command=dump && break ;;
        esac
    done
    # --option=value comes as three words.
    [[ $current != = ]] || current=''
    [[ $previous != = ]] || previous=${COMP_WORDS[COMP_CWORD - 2]}
    case $command:$previous in
        :-d | :--dump-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :-r | :--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :-R | :--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--compress-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--output-device)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--allow-signature)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :-L | :--limit)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--credentials)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--presigned)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--object-name)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--ca-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        :--resolve)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--stall)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        :--message-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dmesg:-r | dmesg:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dmesg:-R | dmesg:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        check:-R | check:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        check:--root)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        gate:--root)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        collect:--device)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        collect:--dest)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        collect:--reserve)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        fingerprint:-r | fingerprint:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        fingerprint:-R | fingerprint:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        kmsg:-r | kmsg:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        kmsg:-R | kmsg:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        kmsg:--input)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        pstore:-r | pstore:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        pstore:-R | pstore:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        pstore:--dest)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        pstore:--store)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:-d | dump:--dump-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:-r | dump:--recipient)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:-R | dump:--recipients-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:--compress-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--output-device)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:--allow-signature)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:-L | dump:--limit)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--num-threads)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--credentials)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:--presigned)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:--object-name)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--ca-file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        dump:--resolve)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--stall)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
        dump:--message-level)
            mapfile -t COMPREPLY < <(:)
            return
            ;;
    esac
    local options=''
    case $command in
        '') options='-d --dump-level -r --recipient -R --recipients-file --compress-level --output-device --allow-signature -L --limit --num-threads --credentials --presigned --object-name --ca-file --resolve --stall --message-level --as-makedumpfile --keep-cpu-lists --keep-page-structures --drop-page-structures --dump-dmesg --partial-dmesg -c -l -p -z -F --framed --split -f --force --keep-incomplete --non-mmap --dry-run --reassemble --remove-source --allow-fewer-pages --probe -D --show-stats --warnings-exit-0 --check-params -q --quiet -v --version -h --help' ;;
        dmesg) options='-r --recipient -R --recipients-file --partial-dmesg -f --force -q --quiet -h --help' ;;
        check) options='-R --recipients-file --root --json --recipients-only -q --quiet -h --help' ;;
        gate) options='--root -q --quiet -h --help' ;;
        config) options='-q --quiet -h --help' ;;
        estimate) options='--json -q --quiet -h --help' ;;
        collect) options='--device --dest --reserve --free-damaged -q --quiet -h --help' ;;
        fingerprint) options='-r --recipient -R --recipients-file --plugins -q --quiet -h --help' ;;
        kmsg) options='-r --recipient -R --recipients-file --input -w --follow -q --quiet -h --help' ;;
        pstore) options='-r --recipient -R --recipients-file --dest --store -q --quiet -h --help' ;;
        dump) options='-d --dump-level -r --recipient -R --recipients-file --compress-level --output-device --allow-signature -L --limit --num-threads --credentials --presigned --object-name --ca-file --resolve --stall --message-level --as-makedumpfile --keep-cpu-lists --keep-page-structures --drop-page-structures --dump-dmesg --partial-dmesg -c -l -p -z -F --framed --split -f --force --keep-incomplete --non-mmap --dry-run --reassemble --remove-source --allow-fewer-pages --probe -D --show-stats --warnings-exit-0 --check-params -q --quiet -v --version -h --help' ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    compopt -o filenames
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W 'dmesg check gate config estimate collect fingerprint kmsg pstore' -- "$current"; compgen -f -- "$current") ;;
        help) mapfile -t COMPREPLY < <(compgen -W 'dmesg check gate config estimate collect fingerprint kmsg pstore' -- "$current") ;;
        *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
}
complete -F _vmcore_encrypt vmcore-encrypt
