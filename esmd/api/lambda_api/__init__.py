"""AWS Lambda's REST API, as far as event source mappings and registered functions need it [specification D, F.1].

| module       | answers for                                                                    |
|--------------|--------------------------------------------------------------------------------|
| `errors`     | how AWS spells an error                                                        |
| `members`    | the members of a request, turned into fields of the configuration's models     |
| `mappings`   | what a request makes of a mapping: created, updated, its tags                   |
| `answers`    | how AWS shows a mapping                                                        |
| `functions`  | how AWS shows a registered function, and how clients name one                  |
| `paging`     | `Marker` and `MaxItems`                                                        |
| `probe`      | does the source exist, and does it fit: what AWS asks before it takes a mapping |
| `invoking`   | `Invoke`: waited for, in the background, or not at all                         |
| `operations` | what each operation does with the running daemon                               |
| `routes`     | where it is served                                                             |
"""
