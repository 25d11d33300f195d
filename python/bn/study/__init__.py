"""Studies of what is claimed of batch normalization: `bn study` runs them.

`studies/` has a file for each study, and `STUDIES` lists them; `plan` says what a study is. For
them, `data` and `corruptions` make the data, `networks` the networks, and `training` trains one.
`runner` goes through a study's measurements, which `results` keeps; `statistics` makes estimates of
them. A study draws its `conclusion` from these; `pictures` and `report` show it.
"""

from bn.study.studies import STUDIES as STUDIES
