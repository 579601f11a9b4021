# Microbenchmarks (./dev bench micro): built only when asked for.
file(GLOB micro_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/bench/micro/*.c")
if(NOT micro_sources)
    return() # an image is built without the tests
endif()
add_executable(micro EXCLUDE_FROM_ALL ${micro_sources})
target_link_libraries(micro PRIVATE kamiyo)
set_target_properties(micro PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests/bench")
