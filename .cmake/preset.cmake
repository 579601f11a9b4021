# KAMIYO_PRESET: what CMakePresets.json would say, kept here because the top level of the tree is fixed.
#
#   debug     -Og -g, asserts, the one to develop with
#   clang     debug with clang, so that both compilers' warnings are seen
#   release   -O2 -g, link-time optimisation, hardened; without tests
#   asan      address, leak and undefined-behaviour sanitizers, no recovery
#   tsan      thread sanitizer
#   fuzz      clang, libFuzzer binaries with asan and ubsan
#   coverage  gcov counters
set(KAMIYO_PRESET "debug" CACHE STRING "debug, clang, release, asan, tsan, fuzz or coverage")
set(KAMIYO_PRESETS debug clang release asan tsan fuzz coverage)
set_property(CACHE KAMIYO_PRESET PROPERTY STRINGS ${KAMIYO_PRESETS})
if(NOT KAMIYO_PRESET IN_LIST KAMIYO_PRESETS)
    message(FATAL_ERROR "KAMIYO_PRESET is \"${KAMIYO_PRESET}\"; allowed: ${KAMIYO_PRESETS}")
endif()

if(KAMIYO_PRESET MATCHES "^(fuzz|clang)$" AND NOT DEFINED CMAKE_C_COMPILER)
    set(CMAKE_C_COMPILER clang)
endif()

set(KAMIYO_PRESET_TESTS ON)
if(KAMIYO_PRESET STREQUAL "release")
    set(KAMIYO_PRESET_TESTS OFF)
endif()
