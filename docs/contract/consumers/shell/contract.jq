# JSON Schema in the words that the contract uses, and what a message says.
include "strict";

# The $ of JSON Schema is the end of the text and nothing else.
def matches($pattern): test($pattern | gsub("\\$"; "\\z"));

def fits($root; $s):
  . as $v
  | def unless_any(f): . == null or f;
    if ($s | type) == "boolean" then $s else
    ($s["$ref"] | unless_any(split("/")[-1] as $name | $v | fits($root; $root["$defs"][$name])))
    and ($s.type | unless_any(. as $t | $v | type == $t
          or ($t == "integer" and type == "number" and floor == .)))
    and (($s | has("const") | not) or $v == $s.const)
    and ($s.enum | unless_any(any(.[]; . == $v)))
    and ($s.not | unless_any(. as $p | $v | fits($root; $p) | not))
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
        | [($s.properties // {} | select(has($e.key)) | .[$e.key]),
           (($s.patternProperties // {}) | to_entries[] | .key as $p | select($e.key | matches($p)) | .value)]
        | if . == [] then $s.additionalProperties != false
          else all(.[]; . as $p | $e.value | fits($root; $p)) end)))
    end;

# A key set: a line for each key that verifies, with what the shell needs of it.
def trusted($schema):
  parse
  | if fits($schema; $schema) and ([.keys[].kid] | length == (unique | length)) then .keys[] else error("wrong") end
  | select(.use != "enc")
  | [.kid, .unit, .alg, .x, .y // "-", (.nbf, .exp | . // "null"), ({crv, kty, x, y} | del(.[] | nulls) | tojson)] | @tsv;

# A protected header, in one line; $payload is only held against the limit of nesting.
def header($payload):
  if $payload | shallow then . else error("malformed") end
  | parse
  | if del(.alg, .kid, .typ, .cty) == {} and all(.[]; type == "string") then . else error("malformed") end
  | [.alg, .typ, .cty, .kid] | map(if . == null or . == "" then "-" else . end) | @tsv;

def belongs_on:
  {"senyum.attendance.recorded.v1": "event", "senyum.attendance.refused.v1": "event",
   "senyum.unit.audit.v1": "event", "senyum.unit.state.v1": "state", "senyum.unit.health.v1": "health"}
  [.type | strings];

# The name that a unit had before, of a `moved` that does not contradict itself.
def moved_from:
  select(.data.code == "moved") | .source as $now | .sequence as $sequence | .data.detail
  | select((.last | type) == "number" and (.last | floor == . and . >= 1))
  | select((.last + 1 | tostring) == ($sequence | sub("^0*"; "")))
  | .from | strings | select(. != $now and test("^urn:senyum(:[a-z0-9-]{1,32}){3}\\z"));

# An event whose signature is in order: the verdict on what it says, and what a store needs of it.
def judged($unit; $leaf; $nbf; $exp; $received; $schemas):
  parse
  | if belongs_on // $leaf | . != $leaf then "type"
    elif fits($schemas[$leaf]; $schemas[$leaf]) | not then "payload"
    elif .source != $unit then "topic"
    else
      (if .data.clock.state == "unsynchronized" then $received  # nobody vouches for time
       else (.time[:19] + "Z" | fromdate) + ("0" + .time[19:26] | tonumber) end) as $when
      | if $when < ($nbf // $when) or $when > ($exp // $when) then "outside-validity"
        else "genuine",
          ([.id, (.sequence // "-" | sub("^0*"; "")), .previous, (.data.sequence // 0 | floor | fabs), .data.head,
            ([moved_from][0])]
           | map(. // "-") | @tsv)
        end
    end;
