# The key set that a central server trusts, and signatures by its keys.

half=7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8 # of P-256's order

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

declare -A keys
untrusted() { echo "keys.json: $1" >&2 && exit 1; }
trust() { # the key set, or nothing of it
    local kid line of its x y own
    { utf8 "$1" && contract 'trusted($s[0].keys)' -Rsr --slurpfile s schemas "$1" >trusted 2>/dev/null; } || untrusted "is none"
    while IFS=$'\t' read -r kid line; do
        IFS=$'\t' read -r of its x y _ _ own <<<"$line"
        [[ $(printf %s "$own" | openssl dgst -sha256 -binary | to_base64url) == "$kid" ]] || untrusted "$kid: is not the thumbprint"
        { from_base64url "$x" x && { [[ $y == - ]] || from_base64url "$y" y; } && alg=$its public_key &&
            openssl pkey -pubin -inform DER -in public -pubcheck -noout >/dev/null 2>&1; } || untrusted "$kid: not a key"
        keys[$kid]=$line
    done <trusted
}
