# Run at build time by kamiyo_embed(): writes DIRECTORY/SYMBOL.{h,c} from INPUT.
# Character escapes instead of one string literal: C compilers need to take no more than 4095 characters of those.
file(READ "${INPUT}" hex HEX)
string(LENGTH "${hex}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1', " bytes "${hex}")
string(REGEX REPLACE "(('[^']*', )('[^']*', )('[^']*', )('[^']*', )('[^']*', )('[^']*', )('[^']*', )('[^']*', ))" "\\1\n    " bytes "${bytes}")
get_filename_component(name "${INPUT}" NAME)

file(WRITE "${DIRECTORY}/${SYMBOL}.h" "/* Made from ${name} by the build. */
#pragma once

#include <stddef.h>

extern const char ${SYMBOL}[];       /* ends with a NUL that ${SYMBOL}_size does not count */
extern const size_t ${SYMBOL}_size;
")
file(WRITE "${DIRECTORY}/${SYMBOL}.c" "/* Made from ${name} by the build. */
#include \"${SYMBOL}.h\"

const char ${SYMBOL}[] = {
    ${bytes}'\\0'};
const size_t ${SYMBOL}_size = ${size};
")
