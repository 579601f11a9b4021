# kamiyo_embed(<out variable> <extension> <glob>): each matching file becomes a constant in the library.
#
# src/limit/bucket.lua gives `#include "bucket_lua.h"` with `bucket_lua[]`, ended by a NUL, and `bucket_lua_size` without it.
set(KAMIYO_GENERATED "${CMAKE_BINARY_DIR}/generated")

function(kamiyo_embed out extension glob)
    file(GLOB files CONFIGURE_DEPENDS "${glob}")
    set(sources "")
    foreach(file IN LISTS files)
        get_filename_component(stem "${file}" NAME_WE)
        set(symbol "${stem}_${extension}")
        set(source "${KAMIYO_GENERATED}/${symbol}.c")
        add_custom_command(
            OUTPUT "${source}" "${KAMIYO_GENERATED}/${symbol}.h"
            COMMAND ${CMAKE_COMMAND} -DINPUT=${file} -DSYMBOL=${symbol} -DDIRECTORY=${KAMIYO_GENERATED}
                    -P "${CMAKE_SOURCE_DIR}/.cmake/embed_file.cmake"
            DEPENDS "${file}" "${CMAKE_SOURCE_DIR}/.cmake/embed_file.cmake"
            COMMENT "Embedding ${stem}.${extension}" VERBATIM)
        list(APPEND sources "${source}" "${KAMIYO_GENERATED}/${symbol}.h")
    endforeach()
    set(${out} ${sources} PARENT_SCOPE)
endfunction()
