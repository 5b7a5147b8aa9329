#!/bin/sh
# Makes the virtual environment, or says why not:  tools/venv.sh VERB PYTHON FOLDER program|developers LOCK
# One that another Python made, or that no longer runs, is made anew.  VERB is what was typed behind `make`.
# The last but one says what is installed there: the program alone, as users install it, or what its developers
# need as well, in the releases of the file LOCK, of which each file is known by its hash.
set -eu
verb=$1 python=$2 folder=$3 wanted=$4 lock=$5
least=3.11

# Prints 3.12 for Python 3.12.  A shim of a version manager may exist and run nothing.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_new_enough() {
    major=${1%%.*} minor=${1#*.}
    [ "$major" -gt "${least%%.*}" ] || { [ "$major" -eq "${least%%.*}" ] && [ "$minor" -ge "${least#*.}" ]; }
}

# What to type instead: with a Python of this machine that is new enough, if there is one.
remedy() {
    for one in python3.14 python3.13 python3.12 python3.11; do
        found=$(version_of $one) || continue
        if is_new_enough "$found"; then
            echo "make $verb PYTHON=$one"
            return
        fi
    done
    echo "install a newer one, such as 3.12, then: make $verb PYTHON=python3.12"
}

version=$(version_of "$python") || version=
if [ -z "$version" ]; then
    echo "Python $least or newer is needed; $python cannot be run: $(remedy)" >&2
    exit 1
fi
if ! is_new_enough "$version"; then
    echo "Python $least or newer is needed; this is $version: $(remedy)" >&2
    exit 1
fi

# Whether this was installed since the files that say what it is have changed.
has() {
    [ -e "$folder/.$1" ] && [ -z "$(find pyproject.toml "$lock" -newer "$folder/.$1")" ]
}

install() {
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

if [ -e "$folder" ]; then
    was=$(version_of "$folder/bin/python") || was=
    made=$(sed -n 's/^version[^=]*= *\([0-9]*\.[0-9]*\).*/\1/p' "$folder/pyvenv.cfg" 2>/dev/null | head -n 1) || made=
    # Without pip it was never finished.
    if [ "$was" != "$version" ] || [ "$made" != "$version" ] || [ ! -e "$folder/bin/pip" ]; then
        echo "$folder was made by ${made:+Python }${made:-something else}; it is made anew by Python $version."
        rm -rf "$folder"
    fi
fi
if [ ! -e "$folder" ]; then
    echo "Making a virtual environment in $folder with Python $version …"
    "$python" -m venv "$folder"
fi
if [ "$wanted" = developers ] && ! has developers; then
    echo "Installing the program and what its developers need, which takes a few minutes …"
    install --require-hashes --requirement "$lock"
    install --no-deps --no-build-isolation --editable .
    touch "$folder/.developers" "$folder/.program"
elif ! has program; then
    echo "Installing the program and what it needs, which takes up to a minute …"
    install --editable .
    touch "$folder/.program"
fi
