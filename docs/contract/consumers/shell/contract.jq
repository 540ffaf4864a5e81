# What a shell lacks: JSON read strictly, and JSON Schema in the words that the contract uses.

# Text to an object, or an error: no name twice, nothing behind it, no NaN.
def parse:
  . as $text
  | (try fromjson catch null) as $value
  | [scan("\"(?:[^\"\\\\]|\\\\.)*\"\\s*:?")] as $strings
  | if ($value | type) == "object"
      and ([$strings[] | select(endswith(":"))] | length) == ([$value | .. | objects | keys[]] | length)
      and ($text | gsub("\"(?:[^\"\\\\]|\\\\.)*\""; "") | test("nan|inf"; "i") | not)
    then $value
    else error("malformed")
    end;

# The $ of JSON Schema is the end of the text and nothing else.
def matches($pattern): test($pattern | sub("\\$$"; "\\z"));

def fits($root; $s):
  . as $v
  | def unless_any(f): . == null or f;
    ($s["$ref"] | unless_any(split("/")[-1] as $name | $v | fits($root; $root["$defs"][$name])))
    and ($s.type | unless_any(. as $t | $v | type == $t
          or ($t == "integer" and type == "number" and floor == .)))
    and (($s | has("const") | not) or $v == $s.const)
    and ($s.enum | unless_any(any(.[]; . == $v)))
    and ($s.anyOf | unless_any(any(.[]; . as $p | $v | fits($root; $p))))
    and ($s.allOf | unless_any(all(.[]; . as $p | $v | fits($root; $p))))
    and ($s.if | unless_any(
          (if (. as $p | $v | fits($root; $p)) then $s.then else $s.else end // {}) as $p
          | $v | fits($root; $p)))
    and (($v | type) != "number" or (
          ($s.minimum | unless_any($v >= .))
      and ($s.maximum | unless_any($v <= .))
      and ($s.exclusiveMinimum | unless_any($v > .))))
    and (($v | type) != "string" or (
          ($s.pattern | unless_any(. as $p | $v | matches($p)))
      and ($s.minLength | unless_any(. <= ($v | length)))
      and ($s.maxLength | unless_any(. >= ($v | length)))))
    and (($v | type) != "array" or ($s.items | unless_any(. as $p | $v | all(.[]; fits($root; $p)))))
    and (($v | type) != "object" or (
          all(($s.required // [])[]; . as $name | $v | has($name))
      and ($s.maxProperties | unless_any(. >= ($v | length)))
      and all($v | to_entries[]; . as $e
        | [($s.properties // {})[$e.key] // empty,
           (($s.patternProperties // {}) | to_entries[] | .key as $p | select($e.key | matches($p)) | .value)]
        | if . == [] then $s.additionalProperties != false
          else all(.[]; . as $p | $e.value | fits($root; $p)) end)));

# A protected header, and the key that it names: what the shell needs of both, in one line.
def header($keys):
  parse
  | if del(.alg, .kid, .typ, .cty) == {} and all(.[]; type == "string") then . else error("malformed") end
  | . as $header
  | ([$keys.keys[] | select(.kid == $header.kid)][0] // {}) as $key
  | [.alg, .typ, .cty, $key.unit, $key.alg, $key.x, $key.y, ($key | .nbf, .exp | . // "null")]
  | map(. // "-") | @tsv;

# An event whose signature is in order: the verdict on what it says, and what a store needs of it.
def judged($unit; $leaf; $nbf; $exp; $received; $schemas):
  parse
  | . as $event
  | [("event", "state", "health") | select(. as $kind | $event | fits($schemas[$kind]; $schemas[$kind]))] as $kinds
  | if $kinds == [] then "payload"
    elif $kinds != [$leaf] then "type"
    elif .source != $unit then "topic"
    else
      (if .data.clock.state == "unsynchronized" then $received  # nobody vouches for time
       else (.time[:19] + "Z" | fromdate) + ("0" + .time[19:26] | tonumber) end) as $when
      | if $when < ($nbf // $when) or $when > ($exp // $when) then "outside-validity"
        else "genuine",
          ([.id, (.sequence // "-" | sub("^0*"; "")), .previous, .data.sequence, .data.head]
           | map(. // "-") | @tsv)
        end
    end;
