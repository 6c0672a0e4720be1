# Compiler flags shared by every target of the project: octet_flags is private to the build and
# never reaches a user of the library.
add_library(octet_flags INTERFACE)
target_compile_options(octet_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor
                                             -Woverloaded-virtual -Wvla)
if(OCTET_WARNINGS_AS_ERRORS)
  target_compile_options(octet_flags INTERFACE -Werror)
endif()
# GCC 12 warns inside libstdc++ about code that its own inlining made up (PR 105329, PR 105651), and,
# where sanitizers are on, inside its own AVX-512 headers (PR 105593).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(octet_flags INTERFACE -Wno-restrict -Wno-stringop-overflow
                                               -Wno-maybe-uninitialized -Wno-array-bounds)
  if(OCTET_SANITIZE)
    target_compile_options(octet_flags INTERFACE -Wno-uninitialized)
  endif()
endif()
# For tools and tests, where the library does the work: they compile in two thirds of the time.
add_library(octet_light_flags INTERFACE)
target_link_libraries(octet_light_flags INTERFACE octet_flags)
target_compile_options(octet_light_flags INTERFACE $<$<CONFIG:Release>:-O1>)
if(OCTET_SANITIZE)
  # -O1 keeps the sanitized suite inside its time; every finding still aborts the test.
  add_compile_options(-fsanitize=${OCTET_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${OCTET_SANITIZE})
endif()
