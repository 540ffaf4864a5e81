#!/usr/bin/env bash
# Judge the test vectors as ../../README.md says, with openssl 3 and coreutils; jq reads the JSON.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
vectors=$here/../../vectors schemas=$here/../../schema
half=7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8 # of P-256's order
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$here/store.sh"
cd "$work"
jq -n '[inputs | {(.["$id"] | split(":")[-1]): .}] | add' "$schemas"/*.json >schemas

to_base64url() { base64 -w 0 | tr '+/' '-_' | tr -d '='; }
from_base64url() { # TEXT FILE: fails where TEXT is not as an encoder writes it
    local padded=$1===
    printf %s "${padded:0:$(((${#1} + 3) / 4 * 4))}" | tr -- '-_' '+/' | base64 -d >"$2" 2>/dev/null &&
        [[ $(to_base64url <"$2") == "$1" ]]
}
contract() { jq -L "$here" "include \"strict\"; include \"contract\"; $1" "${@:2}"; }
utf8() { # and without a NUL, which the shell cannot pass on
    iconv -f UTF-8 -t UTF-8 "$1" >/dev/null 2>&1 && [[ $(tr -d '\0' <"$1" | wc -c) == "$(wc -c <"$1")" ]]
}

public_key() { # of the bytes in x, y, as X.509 has it
    if [[ $alg == Ed25519 ]]; then
        printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00' && cat x
    else
        printf '\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04' &&
            cat x y
    fi >public
}
signed() { # by the key in x, y, of the algorithm $alg: the signature of content
    local hex
    public_key
    if [[ $alg == Ed25519 ]]; then
        openssl pkeyutl -verify -pubin -keyform DER -inkey public -rawin -in content -sigfile signature
        return
    fi
    hex=$(od -An -v -tx1 signature | tr -d ' \n')
    [[ ${#hex} == 128 && ! ${hex:64} > $half ]] || return 1
    printf 'asn1=SEQUENCE:a\n[a]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "${hex:0:64}" "${hex:64}" >asn1
    openssl asn1parse -genconf asn1 -noout -out der
    openssl dgst -sha256 -verify public -keyform DER -signature der content
}

prove() { # one message by itself: prints the verdict, leaves the event in `event`
    local level='([a-z0-9-]{1,32})' first second third leaf alg typ cty kid of its x y nbf exp
    [[ $topic =~ ^senyum/v1/$level/$level/$level/(event|state|health)$ ]] || { echo topic && return; }
    leaf=${BASH_REMATCH[4]}
    [[ -s $message ]] || { echo empty && return; }
    (($(wc -c <"$message") <= 65536)) || { echo oversized && return; }
    if [[ $leaf == state && $(head -c 1 "$message") == '{' ]]; then
        utf8 "$message" && contract 'parse | fits($s[0].will; $s[0].will)' -Rse --slurpfile s schemas "$message" >/dev/null 2>&1 &&
            echo unsigned || echo malformed
        return
    fi
    grep -qzxE '[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*' "$message" || { echo malformed && return; }
    IFS=. read -r first second third <"$message" || true
    { from_base64url "$first" first && from_base64url "$second" second && from_base64url "$third" signature &&
        utf8 first && contract 'header($payload)' -Rsr --rawfile payload second first >header 2>/dev/null
    } || { echo malformed && return; }
    IFS=$'\t' read -r alg typ cty kid <header
    [[ $typ == "senyum-$leaf+jws" && $cty == cloudevents+json ]] || { echo type && return; }
    [[ $alg == Ed25519 || $alg == ES256 ]] || { echo algorithm && return; }
    [[ $kid != *[!A-Za-z0-9_-]* && ${keys[$kid]:-} ]] || { echo unknown-key && return; }
    IFS=$'\t' read -r of its x y nbf exp <<<"${keys[$kid]}"
    [[ $of == "$unit" ]] || { echo foreign-key && return; }
    [[ $its == "$alg" ]] || { echo algorithm && return; }
    from_base64url "$x" x && { [[ $y == - ]] || from_base64url "$y" y; } && printf %s "$first.$second" >content
    signed >/dev/null 2>&1 || { echo bad-signature && return; }
    utf8 second && contract 'judged($unit; $leaf; $nbf; $exp; $received; $s[0])' -Rsr --arg unit "$unit" --arg leaf "$leaf" \
        --argjson nbf "$nbf" --argjson exp "$exp" --argjson received "$received" --slurpfile s schemas \
        second >event 2>/dev/null || { echo malformed && return; }
    head -n 1 event
}

declare -A keys
untrusted() { echo "keys.json: $1" >&2 && exit 1; }
trust() { # the key set, or nothing of it
    local kid line of its x y
    { utf8 "$1" && contract 'trusted($s[0].keys)' -Rsr --slurpfile s schemas "$1" >trusted 2>/dev/null; } || untrusted "is none"
    while IFS=$'\t' read -r kid line; do
        IFS=$'\t' read -r of its x y _ <<<"$line"
        { from_base64url "$x" x && { [[ $y == - ]] || from_base64url "$y" y; } && alg=$its public_key &&
            openssl pkey -pubin -inform DER -in public -pubcheck -noout >/dev/null 2>&1; } || untrusted "$kid: is no key"
        keys[$kid]=$line
    done <trusted
}

trust "$vectors/keys.json"
wrong=0 now=
while IFS=$'\t' read -r name series topic received path expected lacking _; do
    [[ $series == "$now" ]] || { now=$series moves=() && unset ids events named && declare -A ids events named; }
    message=$vectors/$path unit=urn:senyum:$(cut -d / -f 3-5 <<<"$topic" | tr / :)
    verdict=$(prove)
    [[ $verdict != genuine ]] || judge
    lacks=$(missing)
    echo "$name $verdict $lacks"
    [[ "$verdict $lacks" == "$expected $lacking" ]] || wrong=1
done < <(tail -n +2 "$vectors/vectors.tsv")
exit $wrong
