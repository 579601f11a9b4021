# Compiler and linker flags: the house's warnings for every preset, then what the preset adds. The interface target
# kamiyo_flags carries them to the library and to all that links it.
#
# NDEBUG is never set: an assert marks a bug, and a gateway that runs on past one is worse than one that restarts.
add_library(kamiyo_flags INTERFACE)
target_compile_definitions(kamiyo_flags INTERFACE _GNU_SOURCE)

set(warnings
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
    -Wold-style-definition -Wpointer-arith -Wcast-qual -Wcast-align -Wwrite-strings -Wundef -Wvla -Wformat=2
    -Wswitch-enum -Wimplicit-fallthrough -Wdouble-promotion)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND warnings -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
endif()
# Sanitizers and gcov add branches of their own, in which gcc then sees null pointers that no program has.
if(KAMIYO_PRESET MATCHES "^(debug|clang|release)$")
    list(APPEND warnings -Wnull-dereference)
endif()
if(KAMIYO_WERROR)
    list(APPEND warnings -Werror)
endif()
# -fPIE for the library as well: it ends up in executables only, and -fPIC would cost each call an indirection.
target_compile_options(kamiyo_flags INTERFACE ${warnings} -fPIE)
target_link_options(kamiyo_flags INTERFACE -pie)

set(compile_debug -Og -g)
set(compile_clang -O1 -g)
set(compile_release -O2 -g -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
set(link_release -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
set(compile_asan -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all)
set(link_asan -fsanitize=address,undefined)
set(compile_tsan -O1 -g -fno-omit-frame-pointer -fsanitize=thread)
set(link_tsan -fsanitize=thread)
set(compile_fuzz -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
set(link_fuzz -fsanitize=address,undefined)
set(compile_coverage -O0 -g --coverage)
set(link_coverage --coverage)
target_compile_options(kamiyo_flags INTERFACE ${compile_${KAMIYO_PRESET}})
target_link_options(kamiyo_flags INTERFACE ${link_${KAMIYO_PRESET}})

if(KAMIYO_PRESET STREQUAL "release")
    include(CheckIPOSupported)
    check_ipo_supported(RESULT ipo_supported OUTPUT ipo_output LANGUAGES C)
    if(ipo_supported)
        set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    endif()
endif()
