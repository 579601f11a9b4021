# kamiyo/version.h in the build directory: KAMIYO_VERSION and KAMIYO_COMMIT. The commit is asked for at each build, and the
# header is written only when it differs, so a commit rebuilds the one or two files that include it.
file(MAKE_DIRECTORY "${KAMIYO_GENERATED}/kamiyo")
add_custom_target(kamiyo_version
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${KAMIYO_GENERATED}/kamiyo/version.h
            -DVERSION=${PROJECT_VERSION} "-DCOMMIT=${KAMIYO_COMMIT}" -P "${CMAKE_SOURCE_DIR}/.cmake/version_file.cmake"
    BYPRODUCTS "${KAMIYO_GENERATED}/kamiyo/version.h"
    COMMENT "" VERBATIM)
