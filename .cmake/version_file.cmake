# Run at build time by version.cmake: writes OUTPUT when the version or the commit changed.
if(NOT COMMIT)
    execute_process(COMMAND git -C "${SOURCE}" rev-parse --short=12 HEAD
        OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
        set(COMMIT unknown)
    endif()
endif()
set(text "/* Made by the build. */
#pragma once

#define KAMIYO_VERSION \"${VERSION}\"
#define KAMIYO_COMMIT \"${COMMIT}\"
")
set(old "")
if(EXISTS "${OUTPUT}")
    file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)
    file(WRITE "${OUTPUT}" "${text}")
endif()
