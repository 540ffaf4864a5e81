# What jq lacks: JSON read strictly, within the limits of the contract.

# All tokens of JSON, in whichever order; jq itself also takes 01, NaN and a raw line end in a string.
def tokens: "\\A(?>(?:[ \\t\\r\\n\\[\\]{},:]|true|false|null"
  + "|-?(?>0|[1-9][0-9]*)(?>\\.[0-9]+)?(?>[eE][-+]?[0-9]+)?(?![-+.0-9eE])"
  + "|\"(?>[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u[0-9a-fA-F]{4}))*\")*)\\z";

# Whether text is nested at most 32 deep, without reading any value: depth, and 1 in a string, 2 behind its backslash.
def shallow:
  reduce explode[] as $c ([0, 0];
    if .[0] > 32 then .
    elif .[1] == 2 then .[1] = 1
    elif .[1] == 1 then (if $c == 92 then .[1] = 2 elif $c == 34 then .[1] = 0 else . end)
    elif $c == 34 then .[1] = 1
    elif $c == 91 or $c == 123 then .[0] += 1
    elif $c == 93 or $c == 125 then .[0] -= 1
    else . end)
  | .[0] <= 32;

# A control character, or half of a surrogate pair, as a string spells it: whole pairs are skipped.
def forbidden:
  any(scan("\\\\u[dD][89abAB][0-9a-fA-F]{2}\\\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\\\u[0-9a-fA-F]{4}|\\\\.");
    length < 12 and test("^\\\\(?:[bfnrt]|u00[01]|u[dD][89a-fA-F])"));

# Text to an object, or an error.
def parse:
  . as $text
  | if shallow and test(tokens) then . else error("malformed") end
  | (try fromjson catch null) as $value
  | [scan("\"(?:[^\"\\\\]|\\\\.)*\"\\s*:?")] as $strings
  | if ($value | type) == "object"
      and ([$strings[] | select(endswith(":"))] | length) == ([$value | .. | objects | keys[]] | length)
      and (any($strings[]; forbidden) | not)
      and all($value | .. | numbers; fabs <= 9007199254740991)
    then $value | walk(if type == "number" then . + 0 else . end)  # to a double: 1.7 keeps more
    else error("malformed")
    end;
