# What a store adds to the proof of a message: duplicates, forks, what is missing. Of one unit.

judge() { # beside what is stored of the unit in ids, events (digest:previous ...), named
    local digest id number previous newest head
    digest=$(openssl dgst -sha256 -binary "$message" | to_base64url)
    IFS=$'\t' read -r id number previous newest head < <(tail -n 1 event)
    if [[ $number == - ]]; then # a state or health, which names the newest event
        ((newest)) || return 0
        local known=${events[$newest]:-${named[$newest]:-$head}:}
        [[ " $known" == *" $head:"* ]] && named[$newest]=$head || verdict=fork
        return
    fi
    if [[ ${ids[$id]:-} ]]; then
        [[ ${ids[$id]} == "$digest" ]] && verdict=duplicate || verdict=fork
        return
    fi
    local before=${events[$((number - 1))]:-} same=${events[$number]:-} after=${events[$((number + 1))]:-}
    if [[ $same || ($before && " $before" != *" $previous:"*) || ($after && "$after " != *":$digest "*) ||
        ${named[$number]:-$digest} != "$digest" ]]; then verdict=fork; fi
    ids[$id]=$digest events[$number]="${same:+$same }$digest:$previous"
}

missing() {
    local number from=0 gaps='' highest
    highest=$(printf '%s\n' 0 "${!events[@]}" "${!named[@]}" | sort -n | tail -n 1)
    for ((number = 1; number <= highest + 1; number++)); do
        if [[ $number -le $highest && ! ${events[$number]:-} ]]; then
            ((from)) || from=$number
        elif ((from)); then
            gaps+=,$from && ((from == number - 1)) || gaps+=-$((number - 1))
            from=0
        fi
    done
    gaps=${gaps#,}
    echo "${gaps:--}"
}
