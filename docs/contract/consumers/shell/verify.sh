#!/usr/bin/env bash
# Judge the test vectors as ../../README.md says, with openssl 3 and coreutils; jq reads the JSON.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
vectors=$here/../../vectors schemas=$here/../../schema
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$here/keys.sh"
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
    IFS=$'\t' read -r of its x y nbf exp _ <<<"${keys[$kid]}"
    [[ $of == "$unit" ]] || { echo foreign-key && return; }
    [[ $its == "$alg" ]] || { echo algorithm && return; }
    from_base64url "$x" x && { [[ $y == - ]] || from_base64url "$y" y; } && printf %s "$first.$second" >content
    signed >/dev/null 2>&1 || { echo bad-signature && return; }
    utf8 second && contract 'judged($unit; $leaf; $nbf; $exp; $received; $s[0])' -Rsr --arg unit "$unit" --arg leaf "$leaf" \
        --argjson nbf "$nbf" --argjson exp "$exp" --argjson received "$received" --slurpfile s schemas \
        second >event 2>/dev/null || { echo malformed && return; }
    head -n 1 event
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
