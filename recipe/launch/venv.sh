#!/usr/bin/env bash
# Names PROFILE's environment; sourced. CPU and GPU builds of torch and vLLM are other packages under the same names.
# shellcheck disable=SC2034  # used by who sources this
venv=.venv
# shellcheck disable=SC2034
[[ ${PROFILE:-cpu} == cpu* ]] || venv=.venv-gpu
