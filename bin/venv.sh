# Sourced by the launchers, which set $root to the checkout. POSIX sh.

# ensure_venv run|dev: return at once when .venv is for this path and this pyproject.toml, else install.
ensure_venv() {
    stamp=$root/.venv/installed-$1
    [ -e "$stamp" ] && [ ! "$stamp" -nt "$root/pyproject.toml" ] && [ ! "$stamp" -ot "$root/pyproject.toml" ] &&
        [ -x "$root/.venv/bin/python" ] && [ ! -e "$root/.venv/unfinished" ] &&
        IFS= read -r made_for <"$root/.venv/checkout" && [ "$made_for" = "$root" ] &&
        return
    find_python
    "$python" "$root/bin/install.py" "$1" || exit
}

# Set $python to the first one that is new enough.
find_python() {
    if [ -n "${OPREL_PYTHON:-}" ]; then
        set -- "$OPREL_PYTHON"
    else
        set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    found=
    for python; do
        version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
        case $version in
            2.* | 3.[0-9].* | 3.10.*) found="$found$python is $version, " ;;
            *) return ;;
        esac
    done
    echo "oprel: needs Python 3.11 or newer; ${found:-none of these runs: $*, }stopping" >&2
    echo "oprel: install a newer Python, or name one: OPREL_PYTHON=/path/to/python3 $0" >&2
    exit 1
}
