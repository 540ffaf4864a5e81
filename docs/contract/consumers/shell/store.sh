# What a store adds to the proof of a message: duplicates, forks, moves, what is missing. Numbers
# reach 2^63 - 1, all that the shell has: nothing here adds to the last of them.

judge() { # beside what is stored in ids (UNIT ID), events (UNIT NUMBER: digest:previous ...), named, moves
    local digest id number previous newest head origin known
    digest=$(openssl dgst -sha256 -binary "$message" | to_base64url)
    IFS=$'\t' read -r id number previous newest head origin < <(tail -n 1 event)
    if [[ $number == - ]]; then # a state or health, which names the newest event
        [[ $head != - ]] || return 0
        known=${events[$unit $newest]:-${named[$unit $newest]:-$head}:}
        [[ " $known" == *" $head:"* ]] && named[$unit $newest]=$head || verdict=fork
        return
    fi
    if [[ ${ids[$unit $id]:-} ]]; then
        [[ ${ids[$unit $id]} == "$digest" ]] && verdict=duplicate || verdict=fork
        return
    fi
    local before=${events[$unit $((number - 1))]:-} same=${events[$unit $number]:-}
    local after=${events[$unit $((number + 1))]:-} # empty if no later event is stored
    if [[ $same || ($before && " $before" != *" $previous:"*) || ($after && "$after " != *":$digest "*) ||
        ${named[$unit $number]:-$digest} != "$digest" ]]; then verdict=fork; fi
    ids[$unit $id]=$digest events[$unit $number]="${same:+$same }$digest:$previous"
    if [[ $verdict == genuine && $origin != - ]]; then
        moves+=("$number $unit $origin")
        known=${events[$origin $((number - 1))]:-}
        [[ -z $known || " $known" == *" $previous:"* ]] || verdict=fork
    fi
}

elsewhere() { # the numbers that the unit gave under other names: lines of FIRST LAST
    local number to origin earlier name source begin former known
    known=$(printf '%s\n' "${moves[@]}" | sort -rnu)
    while read -r number to origin; do
        [[ $to == "$unit" ]] || continue
        begin=$number former=$origin
        while read -r earlier name source; do
            [[ $former != "$unit" && $earlier -lt $begin && $name == "$former" ]] && begin=$earlier former=$source
        done <<<"$known"
        [[ $former == "$unit" ]] || begin=1
        echo "$begin $((number - 1))"
    done <<<"$known"
}

missing() {
    local last=0 at gaps='' first end a b left
    local -a holes=() parts=()
    for at in $(printf '%s\n' "${!events[@]}" "${!named[@]}" | sed -n "s/^$unit //p" | sort -nu); do
        if ((at - 1 > last)); then holes+=("$((last + 1)) $((at - 1))"); fi
        last=$at
        [[ ${events[$unit $at]:-} ]] || holes+=("$at $at")
    done
    while read -r first end; do
        parts=()
        for left in "${holes[@]}"; do
            read -r a b <<<"$left"
            ((a >= first)) || parts+=("$a $((b < first ? b : first - 1))")
            ((b <= end)) || parts+=("$((a > end ? a : end + 1)) $b")
        done
        holes=("${parts[@]}")
    done < <(elsewhere)
    last=-1
    for left in "${holes[@]}"; do # neighbours become one, and what is one number has no end
        read -r a b <<<"$left"
        if [[ $gaps && $((a - 1)) == "$last" ]]; then gaps=${gaps%-*}-$b; else gaps+=,$a-$b; fi
        last=$b
    done
    gaps=$(sed -E 's/(^|,)([0-9]+)-\2(,|$)/\1\2\3/g; s/(^|,)([0-9]+)-\2(,|$)/\1\2\3/g' <<<"${gaps#,}")
    echo "${gaps:--}"
}
